/** Whether this node serves, and what keeps it from serving. */
export interface Health {
  /** False: no new connection should be sent here. */
  ready: boolean
  /** Each entry names one part and what is wrong with it. A ready node may have some: it serves, impaired. */
  reasons: HealthReason[]
}

export interface HealthReason {
  /** Such as `mqtt`, or `range r7`. */
  part: string
  /** What is wrong, as a sentence for an operator. */
  message: string
}
