export type * from './contract.ts'
export { Overlay, type OverlaySetup } from './overlay.ts'
