import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Address, ClusterId } from '../../../../src/cluster/underlay/core/index.ts'
import { type SavedState, StateFile } from '../../../../src/cluster/underlay/shell/state-file.ts'

let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flockmq-state-'))
  path = join(folder, 'cluster.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const state = (incarnation: number): SavedState => ({
  ...{ clusterName: 'test', incarnation, left: false, peers: ['10.0.0.1:7946' as Address] },
  cluster: { id: 'c1' as ClusterId, formedAtMs: 1_000, lonely: true, founding: true },
})
const failed = (error: Error) => expect.fail(error.message)

test('what was written is read, by whatever way it was written', async () => {
  const file = new StateFile(path)
  expect(file.read()).toBeNull()
  file.writeNow(state(1))
  expect(new StateFile(path).read()).toEqual(state(1))
  file.writeSoon(state(2), failed)
  await file.settled()
  expect(new StateFile(path).read()).toEqual(state(2))
  file.writeNow({ ...state(3), cluster: null, peers: [], left: true })
  expect(new StateFile(path).read()).toEqual({ ...state(3), cluster: null, peers: [], left: true })
})

test('what is written behind never comes after what was written meanwhile', async () => {
  const file = new StateFile(path)
  for (let incarnation = 1; incarnation <= 50; incarnation++) {
    file.writeSoon(state(incarnation), failed)
    if (incarnation % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
    if (incarnation % 10 === 0) {
      file.writeNow(state(incarnation))
      expect(new StateFile(path).read()!.incarnation).toBe(incarnation)
    }
  }
  await file.settled()
  expect(new StateFile(path).read()!.incarnation).toBe(50)
})

test('a crash while it is written leaves the old one', () => {
  const file = new StateFile(path)
  file.writeNow(state(1))
  writeFileSync(`${path}.now`, '{"format": 1, "clus')
  writeFileSync(`${path}.soon`, '{')
  expect(new StateFile(path).read()).toEqual(state(1))
  file.writeNow(state(2))
  expect(new StateFile(path).read()).toEqual(state(2))
  expect(existsSync(`${path}.now`)).toBe(false)
})

test('a folder that is gone: now throws, soon is told', async () => {
  const file = new StateFile(join(folder, 'gone', 'cluster.json'))
  expect(() => file.writeNow(state(1))).toThrow('Cannot write')
  let error: Error | null = null
  file.writeSoon(state(1), (cause) => {
    error = cause
  })
  await file.settled()
  expect(error).toBeInstanceOf(Error)
})

const whole = () => JSON.parse(readFileSync(path, 'utf8'))
test.each<[string, (content: ReturnType<typeof whole>) => unknown]>([
  ['no JSON', () => undefined],
  ['null', () => null],
  ['a later format', (content) => ({ ...content, format: 2 })],
  ['no name', (content) => ({ ...content, clusterName: '' })],
  ['no cluster id', (content) => ({ ...content, cluster: { formedAtMs: 1 } })],
  ['half a cluster', (content) => ({ ...content, cluster: { id: 'c1' } })],
  ['a cluster that is a text', (content) => ({ ...content, cluster: 'c1' })],
  ['no cluster where null should be', ({ cluster: _, ...content }) => content],
  ['a broken incarnation', (content) => ({ ...content, incarnation: 1.5 })],
  ['a negative incarnation', (content) => ({ ...content, incarnation: -1 })],
  ['no peers', (content) => ({ ...content, peers: null })],
])('%s: refused, since the cluster would be lost in silence', (_, change) => {
  const file = new StateFile(path)
  file.writeNow(state(1))
  writeFileSync(path, JSON.stringify(change(whole())) ?? '{')
  expect(() => file.read()).toThrow('it is damaged or of a newer version')
})

test('a peer that is no address is left out', () => {
  const file = new StateFile(path)
  file.writeNow(state(1))
  writeFileSync(path, JSON.stringify({ ...whole(), peers: ['flock-0:7946', 7, '10.0.0.2:7946'] }))
  expect(file.read()!.peers).toEqual(['10.0.0.2:7946'])
})
