import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { builtMain } from '../../build.ts'
import { eventually, type Fleet, type NodeProcess, using } from './fleet.ts'

/** A feature that the next version has and this one has not. */
const FEATURE = 'made-up'
const NEXT = '99.0.0'
/** State that outlives the process: the fleet's own setting is before it. */
const ON_DISK = ['--set', 'store.engine=auto']

const folder = mkdtempSync(join(tmpdir(), 'flockmq-upgrade-'))
let next = ''

beforeAll(async () => {
  next = await buildOfNextVersion()
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** This build, with another version and one feature more. */
async function buildOfNextVersion(): Promise<string> {
  const build = dirname(await builtMain())
  cpSync(build, join(folder, 'build'), { recursive: true, filter: (path) => path !== join(build, 'dev') })
  for (const shared of ['node_modules', 'proto']) symlinkSync(resolve(shared), join(folder, shared))
  const about = JSON.parse(readFileSync('package.json', 'utf8'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...about, version: NEXT }))
  const file = join(folder, 'build/node/ranges/range-node.js')
  const code = readFileSync(file, 'utf8')
  const changed = code.replace(/^const FEATURES = \[/m, `const FEATURES = ['${FEATURE}', `)
  expect(changed).not.toBe(code)
  writeFileSync(file, changed)
  return join(folder, 'build/main.js')
}

async function connect(node: NodeProcess, clientId: string): Promise<MqttClient> {
  const properties = { sessionExpiryInterval: 600 }
  const options = { clientId, protocolVersion: 5, clean: false, reconnectPeriod: 0, properties } as const
  const client = await connectAsync(`mqtt://${node.listener('tcp')}`, options, false)
  client.on('error', () => {})
  return client
}

/** A node that stops is asked for by nobody until it is back, and all is replicated again. */
async function restart(fleet: Fleet, node: NodeProcess, program?: string): Promise<void> {
  expect(await node.kill('SIGTERM')).toMatchObject({ code: 0 })
  await node.start(program)
  await fleet.whole()
  await fleet.replicated(3)
}

/** Until it is taken: with one node away there is a moment without a leader. */
async function publish(node: NodeProcess, payload: string): Promise<void> {
  let refused: unknown = null
  const attempt = async () => {
    const client = await connect(node, 'publisher')
    const closed = new Promise<never>((_, reject) => client.on('close', () => reject(new Error('It was closed'))))
    await Promise.race([client.publishAsync('to/reader', payload, { qos: 1 }), closed])
    closed.catch(() => {})
    await client.endAsync(true)
    return true
  }
  const taken = () =>
    attempt().catch((error) => {
      refused = error
      return false
    })
  await eventually(taken, `"${payload}" is acknowledged`).catch((cause) => {
    throw new Error(`${cause.message}: ${refused}`, { cause })
  })
}

test('node after node gets the next version, and back while not all have it; then the feature holds', async () => {
  await using(async (fleet) => {
    const [first, second, third] = [fleet.add(ON_DISK), fleet.add(), fleet.add()]
    // A cluster that the next version founds relies on the feature from its first moment on.
    await first.start()
    for (const node of [second, third]) node.args = ['--seed', first.address, ...ON_DISK]
    await Promise.all([second.start(next), third.start(next)])
    await fleet.whole()
    await fleet.replicated(3)
    const versions = async (seenBy: NodeProcess) => (await seenBy.members()).members.map(({ version }) => version)
    const [old] = await versions(third)
    expect(await versions(third)).toEqual([old, NEXT, NEXT])
    expect(old).not.toBe(NEXT)
    const reader = await connect(first, 'reader')
    await reader.subscribeAsync('to/reader', { qos: 1 })
    await reader.endAsync()
    await publish(third, 'mixed')

    // Not all can do it, so nobody relies on it: there is a way back.
    await restart(fleet, second)
    expect(await versions(first)).toEqual([old, old, NEXT])
    await publish(second, 'back')
    await restart(fleet, second, next)
    await publish(third, 'two of three')
    await restart(fleet, first, next)
    expect(await versions(third)).toEqual([NEXT, NEXT, NEXT])
    await publish(third, 'all')

    // From now on all rely on it. A program that lacks it is told so, and ends; the others go on.
    await third.kill('SIGTERM')
    const refused = await third.ends()
    expect(refused.code).toBe(1)
    expect(refused.stdout).toContain(`cannot do what this cluster relies on: ${FEATURE}; upgrade it`)
    expect(refused.stdout).not.toContain('disk failed')
    await publish(first, 'without the third')

    const again = await connect(second, 'reader')
    const got: string[] = []
    again.on('message', (_topic, payload) => got.push(String(payload)))
    const sent = ['mixed', 'back', 'two of three', 'all', 'without the third']
    await eventually(async () => new Set(got).size === sent.length, 'all that was acknowledged')
    expect([...new Set(got)]).toEqual(sent)
    await again.endAsync()
  })
}, 400_000)
