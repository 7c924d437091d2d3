import {
  type Client,
  type ClientDuplexStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterEach, expect, test } from 'vitest'
import { systemClock, systemRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { type Rpc, startRpc } from '../../../src/rpc/index.ts'
import { until } from '../rig.ts'

/** Clients as tools have them, from the files of proto/. */
let rpc: Rpc
const clients: { close(): void }[] = []

afterEach(() => {
  for (const client of clients.splice(0)) client.close()
  rpc.close()
})

async function start(): Promise<void> {
  rpc = await startRpc({
    cluster: 'test',
    node: 'a' as HostId,
    incarnation: 1,
    host: '127.0.0.1',
    port: 0,
    secrets: ['secret'],
    tls: null,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  })
}

/** What grpc-js decodes, as far as it is looked at here. */
interface Decoded {
  status: string
  listServicesResponse: { service: { name: string }[] }
  fileDescriptorResponse: { fileDescriptorProto: Buffer[] }
  errorResponse: { errorCode: number }
  challenge: { nonce: Buffer }
  refusal: object
}

type Answered = (error: { code: number } | null, answer: Decoded) => void
type Method = (request?: object, answered?: Answered) => ClientDuplexStream<object, Decoded>
/** grpc-js makes the methods at run time. */
type Stub = Client & Record<'check' | 'watch' | 'serverReflectionInfo' | 'connect', Method>

function client(file: string, path: string): Stub {
  const definition = loadPackageDefinition(loadSync(file, { includeDirs: ['proto'], enums: String, longs: Number }))
  let at: unknown = definition
  for (const name of path.split('.')) at = (at as Record<string, unknown>)[name]
  const made = new (at as ServiceClientConstructor)(`127.0.0.1:${rpc.port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  })
  clients.push(made)
  return made as unknown as Stub
}

test('health: check and watch', async () => {
  await start()
  const health = client('grpc/health/v1/health.proto', 'grpc.health.v1.Health')
  const check = (service: string) =>
    new Promise<string>((resolve) => {
      health.check({ service }, (error, answer) => {
        resolve(error === null ? answer.status : `error ${error.code}`)
      })
    })
  expect(await check('')).toBe('NOT_SERVING')
  const seen: string[] = []
  const watch = health.watch({ service: 'flockmq.link.v1.Link' })
  watch.on('data', (answer: Decoded) => seen.push(answer.status))
  watch.on('error', () => {})
  await until(() => seen.length === 1, 'the first status')
  rpc.setServing(true)
  rpc.setServing(true)
  await until(() => seen.length === 2, 'the change')
  expect(seen).toEqual(['NOT_SERVING', 'SERVING'])
  expect(await check('flockmq.link.v1.Link')).toBe('SERVING')
  expect(await check('no.such.Service')).toBe('error 5')
  await rpc.drain(10)
  await until(() => seen.length === 3, 'the drain')
  expect(seen[2]).toBe('NOT_SERVING')
  watch.cancel()
})

test('health: only so many watch', async () => {
  await start()
  let seen = 0
  let refused = 0
  // A connection takes 64 streams.
  for (let i = 0; i < 2; i++) {
    const health = client('grpc/health/v1/health.proto', 'grpc.health.v1.Health')
    for (let k = 0; k < 40; k++) {
      const watch = health.watch({ service: '' })
      watch.on('data', () => seen++)
      watch.on('error', (error: { code: number }) => {
        if (error.code === 8) refused++
      })
    }
  }
  await until(() => seen + refused === 80, 'all are answered')
  expect(refused).toBe(16)
})

test('reflection: services and files', async () => {
  await start()
  const reflection = client('grpc/reflection/v1/reflection.proto', 'grpc.reflection.v1.ServerReflection')
  const call = reflection.serverReflectionInfo()
  const answers: Decoded[] = []
  call.on('data', (answer: Decoded) => answers.push(answer))
  call.on('error', () => {})
  call.write({ listServices: '' })
  call.write({ fileContainingSymbol: 'flockmq.link.v1.Link.Connect' })
  call.write({ fileByFilename: 'grpc_health_v1.proto' })
  call.write({ fileContainingSymbol: 'no.such.Thing' })
  await until(() => answers.length === 4, 'all answers')
  expect(answers[0]!.listServicesResponse.service.map((each) => each.name)).toEqual([
    'flockmq.link.v1.Link',
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
  ])
  expect(answers[1]!.fileDescriptorResponse.fileDescriptorProto[0]!.toString('latin1')).toContain('flockmq.link.v1')
  expect(answers[2]!.fileDescriptorResponse.fileDescriptorProto[0]!.toString('latin1')).toContain('HealthCheckRequest')
  expect(answers[3]!.errorResponse.errorCode).toBe(5)
  let status = -1
  call.on('status', (end: { code: number }) => {
    status = end.code
  })
  call.end()
  await until(() => status >= 0, 'the end')
  expect(status).toBe(0)
})

test('a link as grpc-js sees it: hello, challenge; without the secret a refusal', async () => {
  await start()
  const link = client('flockmq/link.proto', 'flockmq.link.v1.Link')
  const call = link.connect()
  // biome-ignore lint/suspicious/noExplicitAny: decoded by grpc-js.
  const packets: any[] = []
  let status = -1
  call.on('data', (packet: unknown) => packets.push(packet))
  call.on('error', () => {})
  call.on('status', (end: { code: number }) => {
    status = end.code
  })
  const hello = {
    version: 1,
    cluster: 'test',
    node: 'b',
    incarnation: 1,
    target: 'a',
    kind: 'KIND_RAFT',
    nonce: Buffer.alloc(16),
  }
  call.write({ hello })
  await until(() => packets.length === 1, 'the challenge')
  expect(packets[0]!.challenge).toMatchObject({ node: 'a', incarnation: 1 })
  expect(packets[0]!.challenge.nonce.length).toBe(16)
  call.write({ proof: { terms: Buffer.from([8, 1]), proof: Buffer.alloc(32) } })
  await until(() => packets.length === 2 && status >= 0, 'the refusal')
  expect(packets[1]!.refusal).toMatchObject({ reason: 'not-authenticated' })
})

test('what is not served says so', async () => {
  await start()
  const health = client('grpc/health/v1/health.proto', 'grpc.health.v1.Health')
  const code = await new Promise((resolve) => {
    const none = (bytes: Buffer) => bytes
    health.makeUnaryRequest('/no.such/Method', none, none, Buffer.alloc(0), (error) => resolve(error?.code))
  })
  expect(code).toBe(12)
})
