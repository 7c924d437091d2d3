import { compareBytes } from '../engine/bytes.ts'
import type { RangeView } from './contract.ts'
import type { Step } from './membership.ts'
import type { Survey } from './survey.ts'

/** Cuts where a rule says that a range begins. */
export function preSplitStep(survey: Survey, range: RangeView): Step | null {
  if (!survey.ready(range) || !survey.arrived(range)) return null
  const key = survey.service(range).preSplit.find((candidate) => isInside(range, candidate))
  if (key === undefined || !hasRoom(survey, range)) return null
  return { action: { type: 'split', key }, reason: `a rule begins a range at ${shown(key)}` }
}

/** Cuts a range with too many bytes in the middle. */
export function sizeSplitStep(survey: Survey, range: RangeView): Step | null {
  const { splitBytes } = survey.service(range)
  const key = range.middleKey
  if (range.sizeBytes <= splitBytes || !mayCut(survey, range, key)) return null
  const reason = `it holds ${megabytes(range.sizeBytes)}, more than ${megabytes(splitBytes)}`
  return { action: { type: 'split', key }, reason }
}

/** Cuts a range with too much load where its service says that half of it lies before. */
export function loadSplitStep(survey: Survey, range: RangeView): Step | null {
  const { splitLoad } = survey.service(range)
  const key = range.splitHint
  const load = range.writeLoad + range.queryLoad
  // One store does no more with two ranges than with one.
  if (load <= splitLoad || !canShare(survey, range) || !mayCut(survey, range, key)) return null
  const reason = `it does ${Math.round(load)} commands and queries a second, more than ${splitLoad}`
  return { action: { type: 'split', key }, reason }
}

/** A cold range takes over its cold right neighbour, where the same stores hold both. */
export function mergeStep(survey: Survey, range: RangeView, right: RangeView | undefined): Step | null {
  if (right === undefined || !isCold(survey, range) || !isCold(survey, right)) return null
  const { mergeBytes, splitLoad, preSplit } = survey.service(range)
  const { start } = right.descriptor
  if (start === undefined || preSplit.some((key) => compareBytes(key, start) === 0)) return null
  const bytes = range.sizeBytes + right.sizeBytes
  const load = range.writeLoad + range.queryLoad + right.writeLoad + right.queryLoad
  if (bytes >= mergeBytes || load >= splitLoad / 4 || membersOf(range) !== membersOf(right)) return null
  const reason = `with its neighbour it holds ${megabytes(bytes)} and does ${Math.round(load)} commands and queries a second`
  return { action: { type: 'merge', right: right.descriptor.id }, reason }
}

/** By range: the one that begins where it ends. */
export function rightNeighbours(ranges: readonly RangeView[]): Map<string, RangeView> {
  const begins = new Map<string, RangeView>()
  const name = (service: string, key: Uint8Array) => `${service}\0${key.join()}`
  for (const range of ranges) {
    const { service, start } = range.descriptor
    if (start !== undefined) begins.set(name(service, start), range)
  }
  const result = new Map<string, RangeView>()
  for (const { descriptor } of ranges) {
    const right = descriptor.end === undefined ? undefined : begins.get(name(descriptor.service, descriptor.end))
    if (right !== undefined) result.set(descriptor.id, right)
  }
  return result
}

/** More than one store could lead its parts. */
function canShare(survey: Survey, { descriptor }: RangeView): boolean {
  return survey.stores.filter(({ id, roles }) => survey.alive(id) && roles.includes(descriptor.service)).length > 1
}

function mayCut(survey: Survey, range: RangeView, key: Uint8Array | null): key is Uint8Array {
  return key !== null && survey.calm(range) && isInside(range, key) && hasRoom(survey, range)
}

/** Strictly, so that both sides hold keys. */
function isInside(range: RangeView, key: Uint8Array): boolean {
  const { start, end } = range.descriptor
  if (key.length === 0 || (start !== undefined && compareBytes(key, start) <= 0)) return false
  return end === undefined || compareBytes(key, end) < 0
}

function hasRoom(survey: Survey, range: RangeView): boolean {
  return survey.takeRange(range.descriptor.service)
}

function isCold(survey: Survey, range: RangeView): boolean {
  return survey.calm(range) && range.changedForMs >= survey.rules.mergeCoolDownMs
}

function membersOf(range: RangeView): string {
  return range.descriptor.replicas
    .map(({ store, role }) => `${store} ${role}`)
    .sort()
    .join()
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

/** A key for people: text where it is, bytes in hexadecimal where not. */
function shown(key: Uint8Array): string {
  let text = ''
  for (const byte of key)
    text += byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
  return `"${text}"`
}
