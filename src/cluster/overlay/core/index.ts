export { OverlayCounters } from './counters.ts'
export type * from './effects.ts'
export { HINT_TTL_MS_MAX, LAN, type OverlayOptions } from './options.ts'
export { type KeyView, type MemberView, OverlayCore, type OverlaySetup } from './overlay.ts'
