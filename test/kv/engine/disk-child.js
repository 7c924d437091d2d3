/**
 * A process that writes until it is killed: `node disk-child.js BUILD ENGINE FOLDER FROM`. It prints the number of each batch
 * that was acknowledged, one a line, in the order of the answers; `failed` once the engine calls fatal.
 *
 * Batch n puts key n into `inbox` and `retain`, and n into `meta`. Every tenth one fills `dist` with one value for all
 * keys, the next one empties it by a deleteRange too large for one atomic write.
 */
import { pathToFileURL } from 'node:url'

const [build, kind, path, from] = process.argv.slice(2)
const engines = await import(pathToFileURL(`${build}/kv/engine/${kind}/engine.js`).href)
const WRITERS = 8
const FILL = 1_200

const bytes = (text) => new TextEncoder().encode(text)
const putBytes = (family, key, value) => ({ family, write: { type: 'put', key, value } })
const put = (family, key, value) => putBytes(family, bytes(key), bytes(value))
const say = (text) => process.stdout.write(`${text}\n`)

const engine = await (engines.RocksEngine ?? engines.LmdbEngine).open({
  path,
  tuning: { memtableBytes: 4 * 2 ** 20, cacheBytes: 2 ** 20 },
  fatal: () => say('failed'),
})
let next = Number(from)

function batch(n) {
  const key = String(n).padStart(8, '0')
  const writes = [put('inbox', key, `inbox ${n}`.padEnd(300, '.')), put('meta', 'last', String(n))]
  const all = bytes(`${n}`.padEnd(500, '.'))
  if (n % 10 === 0) for (let i = 0; i < FILL; i++) writes.push(putBytes('dist', bytes(`fill ${i}`), all))
  if (n % 10 === 1) {
    writes.push({ family: 'dist', write: { type: 'deleteRange', start: bytes('fill'), end: bytes('fill~') } })
    writes.push(put('dist', 'fill ', String(n)))
  }
  writes.push(put('retain', key, `retain ${n}`))
  return { writes, sync: true }
}

async function write() {
  for (;;) {
    const n = next++
    await engine.write(batch(n))
    say(n)
  }
}

await Promise.allSettled(Array.from({ length: WRITERS }, write))
await engine.write(batch(next)).catch((error) => say(`then ${error.code}`))
await engine.close()
say('closed')
