export type * from './effects.ts'
export { LAN, type OverlayOptions } from './options.ts'
export { type KeyView, type MemberView, OverlayCore, type OverlaySetup } from './overlay.ts'
