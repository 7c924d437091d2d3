import type { OptionTable } from '../../base/option.ts'
export const SETTINGS = {} as const satisfies OptionTable
