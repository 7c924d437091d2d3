/**
 * What is asked of the broker only since some part of it is there. False: looked at, counted, and no failure.
 */
export const HOLDS = {
  /** A QoS 1 or 2 publish that is accepted anywhere after the SUBACK finds the subscriber, whatever is cut or late; groups aside. */
  subackEverywhere: true,
  /**
   * Where a publisher goes on at another node, what waits for a cut link of the first one comes to transient subscribers
   * before what it publishes later.
   */
  orderWhenMoved: false,
  /** A node that is cut off closes its connections before another one acts for their clients. */
  oneOwnerWhenCut: true,
  /** Wills of nodes that never come back. */
  willOfDeadNode: true,
  /** What a group with an inbox has given to a transient member goes to another one when that member is gone. */
  groupsOutliveMembers: false,
}
