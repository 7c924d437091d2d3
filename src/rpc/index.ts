export { CHANNEL } from './channels.ts'
export type * from './contract.ts'
export type * from './registry/contract.ts'
