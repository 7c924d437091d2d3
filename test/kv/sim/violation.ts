/** A broken promise: what a simulation must never see. */
export class Violation extends Error {
  override name = 'Violation'
}
