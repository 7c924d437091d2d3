/**
 * What the memory engine's tree costs among a million keys: nanoseconds of CPU an operation, bytes an entry.
 *
 *     npx tsc -p bench/tsconfig.json && node --expose-gc build/dev/bench/micro/engine.js
 */
import { seededRandom } from '../../src/base/clock.ts'
import { Tree } from '../../src/kv/engine/memory/tree.ts'

declare const gc: () => void
const COUNT = 1_000_000
const encoder = new TextEncoder()
const random = seededRandom(1)
const name = (n: number) => encoder.encode(`tenant-a/sensors/${String((n * 7919) % COUNT).padStart(7, '0')}`)
const order = Array.from({ length: COUNT }, (_, i) => i)
for (let i = COUNT - 1; i > 0; i--) {
  const j = random.below(i + 1)
  ;[order[i], order[j]] = [order[j]!, order[i]!]
}
const value = new Uint8Array(20)
const time = (label: string, count: number, work: () => void) => {
  const start = process.cpuUsage().user
  work()
  console.log(`${label}: ${(((process.cpuUsage().user - start) * 1e3) / count).toFixed(0)} ns`)
}
const memory = () => {
  gc()
  gc()
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage()
  return { used: heapUsed + external, arrayBuffers, rss }
}
const keys = order.map(name)
const before = memory()
const tree = new Tree()
time('put, random order', COUNT, () => {
  for (const key of keys) tree.put(key, value)
})
const after = memory()
console.log(`beside key and value: ${((after.used - before.used - tree.bytes) / COUNT).toFixed(0)} bytes an entry`)
console.log(`rss: ${((after.rss - before.rss - tree.bytes) / COUNT).toFixed(0)} bytes an entry`)
time('get', COUNT, () => {
  for (const key of keys) tree.get(key)
})
time('overwrite', COUNT, () => {
  for (const key of keys) tree.put(key, value)
})
time('cursor open, seek, 3 steps', COUNT / 4, () => {
  for (let i = 0; i < COUNT / 4; i++) {
    const cursor = tree.cursor({})
    cursor.seek(keys[i]!)
    for (let step = 0; step < 3; step++) cursor.next()
    cursor.close()
  }
})
time('put with a snapshot before each', COUNT / 4, () => {
  for (let i = 0; i < COUNT / 4; i++) {
    const cursor = tree.cursor({})
    tree.put(keys[i]!, value)
    cursor.close()
  }
})
time('walk', COUNT, () => {
  const cursor = tree.cursor({})
  while (cursor.next());
  cursor.close()
})
time('delete', COUNT, () => {
  for (const key of keys) tree.delete(key)
})
