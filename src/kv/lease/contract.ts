/** From a holder to its range's leader. May be lost, late, doubled and overtaken, as all of these. */
export interface Ask {
  /** Who asks: a host, or a replica of one. */
  holder: string
  /** Of the holder: another one after each start of its process. */
  incarnation: number
  /** Number of this ask, in this incarnation. */
  ask: number
  /** What the holder has applied: of a match replica; else 0. */
  applied: number
  /** Version of the range's boundary, as the holder knows it: of a node; else 0. */
  version: number
}

export interface Granted {
  type: 'granted'
  holder: string
  incarnation: number
  ask: number
  /** The lease counts once this index is applied. */
  index: number
  /** From the moment of asking, on the holder's clock. */
  forMs: number
}

export interface Refused {
  type: 'refused'
  holder: string
  incarnation: number
  ask: number
  /**
   * `not-ready`: ask again, or somebody else. `version`: the boundary is another one by now: look at the landscape.
   * `fenced`: this incarnation is held for gone, and never acts again in this cluster.
   */
  reason: 'not-ready' | 'version' | 'fenced'
}

export type Answer = Granted | Refused

/** From a match replica to its range's leader, when it has applied more. */
export interface AppliedReport {
  holder: string
  incarnation: number
  applied: number
}

/** A process of a host, as entries and leases name it. */
export interface NodeIncarnation {
  host: string
  incarnation: number
}
