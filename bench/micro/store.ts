/**
 * What a command costs on its way through client, store, range and memory engine and back, by commands a turn.
 *
 *     npx tsc -p bench/tsconfig.json && node build/dev/bench/micro/store.js
 */
import { seededRandom, systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/logging.ts'
import type { Write } from '../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import type { Coprocessor } from '../../src/kv/range/coprocessor.ts'
import { Store } from '../../src/kv/store/store.ts'

type Put = { key: Uint8Array; value: Uint8Array }
const puts: Coprocessor<Put, number, null, null, null> = {
  service: 'inbox',
  version: 1,
  encode: () => new Uint8Array(0),
  decode: () => [],
  mutate(commands, _reader, context) {
    const writes: Write[] = []
    const responses: number[] = []
    for (const { key, value } of commands) {
      writes.push({ type: 'put', key, value })
      responses.push(context.index)
    }
    return { writes, responses, effects: [] }
  },
  query: () => null,
  due: () => [],
  nextDueMs: () => null,
}
const observer = { opened() {}, applied() {}, closed() {} }
const encoder = new TextEncoder()
const keys = Array.from({ length: 10_000 }, (_, i) => encoder.encode(`tenant/client-${i}/`))
const value = new Uint8Array(64)
const splits = [keys[3_000]!, keys[6_000]!]

for (const perTurn of [1, 16, 256, 2_048]) {
  const store = new Store({
    engine: new MemoryEngine(),
    clock: systemClock,
    random: seededRandom(1),
    storeId: 's1',
    log: silentLogger,
  })
  const client = store.serve(puts, observer, { initialSplits: perTurn === 1 ? [] : splits })
  const total = perTurn === 1 ? 100_000 : 1_000_000
  for (let round = 0; round < 3; round++) {
    let done = 0
    const start = process.cpuUsage()
    while (done < total) {
      await new Promise<void>((resolve) => {
        let left = perTurn
        const each = () => {
          done++
          if (--left === 0) resolve()
        }
        for (let i = 0; i < perTurn; i++) {
          const key = keys[(done + i) % keys.length]!
          client.mutateWith(key, { key, value }, each)
        }
      })
    }
    const { user, system } = process.cpuUsage(start)
    if (round > 0) console.log(`${perTurn} a turn: ${(((user + system) * 1e3) / total).toFixed(0)} ns a command`)
  }
  await store.close()
}
