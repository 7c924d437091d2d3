import type { OptionTable } from '../../base/option.ts'

/** How what a service stores is replicated. */
export const RANGE_OPTIONS = {
  replicas: {
    type: 'integer',
    default: 3,
    min: 1,
    max: 9,
    unit: 'count',
    sentence: 'Nodes with a copy of each range that decide by majority: 1, 3, 5, 7 or 9; never more than there are.',
  },
} as const satisfies OptionTable
