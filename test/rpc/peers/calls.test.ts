import { afterEach, describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { IncomingCall, StreamSink } from '../../../src/rpc/contract.ts'
import { introduce, messages, requests, startNode, stopAll, streams, type TestNode, until } from '../rig.ts'

afterEach(stopAll)

/** The same story for a call over a link and for one within the process. */
describe.each(['another node', 'this node'])('calls to %s', (where) => {
  async function pair(options: Parameters<typeof startNode>[1] = {}): Promise<{ a: TestNode; b: TestNode }> {
    const a = await startNode('a', options)
    if (where === 'this node') return { a, b: a }
    const b = await startNode('b', options)
    introduce(a, b)
    return { a, b }
  }
  const ask = (a: TestNode, b: TestNode, deadlineMs: number) => {
    const outcome: { error: BrokerError | null; answer: Uint8Array | null; calls: number } = {
      error: null,
      answer: null,
      calls: 0,
    }
    const call = a.peers.request(b.id, requests_, Buffer.from('q'), { deadlineMs }, (error, answer) => {
      outcome.error = error
      outcome.answer = answer
      outcome.calls++
    })
    return { outcome, call }
  }
  const requests_ = requests()

  test('an answer comes once, and not before the call returns', async () => {
    const { a, b } = await pair()
    b.peers.handleRequests(requests_, (request, call) => {
      call.answer(request)
      call.answer(request)
      call.fail(new BrokerError('CONFLICT', 'too late'))
    })
    const { outcome } = ask(a, b, 5_000)
    expect(outcome.calls).toBe(0)
    await until(() => outcome.calls > 0, 'the answer')
    expect(outcome).toMatchObject({ error: null, calls: 1 })
    expect(Buffer.from(outcome.answer!).toString()).toBe('q')
  })

  test('a failure keeps code, message and hint; so does one that is thrown', async () => {
    const { a, b } = await pair()
    let thrown = false
    b.peers.handleRequests(requests_, (_request, call) => {
      const error = new BrokerError('EPOCH_MISMATCH', 'Cannot: the range has split', { hint: { epoch: 7 } })
      if (thrown) throw error
      call.fail(error)
    })
    for (thrown of [false, true]) {
      const { outcome } = ask(a, b, 5_000)
      await until(() => outcome.calls > 0, 'the failure')
      const { code, message, hint } = outcome.error!
      expect({ code, message, hint }).toEqual({
        code: 'EPOCH_MISMATCH',
        message: 'Cannot: the range has split',
        hint: { epoch: 7 },
      })
    }
  })

  test('a deadline ends the call for both sides', async () => {
    const { a, b } = await pair()
    let call: IncomingCall<Uint8Array> | null = null
    let cancelled = 0
    b.peers.handleRequests(requests_, (_request, incoming) => {
      call = incoming
      incoming.onCancel = () => cancelled++
    })
    const { outcome } = ask(a, b, 50)
    await until(() => outcome.calls > 0 && cancelled > 0, 'the deadline')
    expect(outcome.error).toMatchObject({ code: 'TIMEOUT' })
    expect(call!.cancelled).toBe(true)
    call!.answer(Buffer.from('late'))
    const { outcome: second } = ask(a, b, 100)
    await until(() => second.calls > 0, 'the second deadline')
    expect(outcome.calls).toBe(1)
  })

  test('a cancelled call is over for both sides', async () => {
    const { a, b } = await pair()
    let cancelled = 0
    let started = 0
    b.peers.handleRequests(requests_, (_request, incoming) => {
      started++
      incoming.onCancel = () => cancelled++
    })
    const { outcome, call } = ask(a, b, 5_000)
    await until(() => started > 0, 'the handler has it')
    call.cancel()
    expect(outcome.calls).toBe(0)
    await until(() => outcome.calls > 0 && cancelled > 0, 'the cancellation')
    expect(outcome.error).toMatchObject({ code: 'CANCELLED' })
    call.cancel()
    expect([outcome.calls, cancelled]).toEqual([1, 1])
  })

  test('nobody serves the channel: NOT_FOUND', async () => {
    const { a, b } = await pair()
    const { outcome } = ask(a, b, 5_000)
    await until(() => outcome.calls > 0, 'the refusal')
    expect(outcome.error).toMatchObject({ code: 'NOT_FOUND' })
  })

  test('a closed node answers CLOSED', async () => {
    const { a, b } = await pair()
    b.peers.handleRequests(requests_, () => {})
    a.kill()
    const { outcome } = ask(a, b, 5_000)
    await until(() => outcome.calls > 0, 'the refusal')
    expect(outcome.error).toMatchObject({ code: 'CLOSED' })
  })

  test('a stream comes as fast as credit is granted, and ends', async () => {
    const { a, b } = await pair()
    const channel = streams()
    let written = 0
    b.peers.handleStreams(channel, (request, sink) => {
      const total = Buffer.from(request).readUInt32BE(0)
      const go = () => {
        while (written < total && sink.ready) {
          const chunk = Buffer.alloc(1_000)
          chunk.writeUInt32BE(written++)
          sink.write(chunk)
        }
        if (written === total) sink.end()
      }
      sink.onReady = go
      go()
    })
    const request = Buffer.alloc(4)
    request.writeUInt32BE(500)
    const chunks: number[] = []
    let ended: BrokerError | null | undefined
    let bytes = 0
    const stream = a.peers.open(
      b.id,
      channel,
      request,
      { creditBytes: 5_000, idleMs: 2_000 },
      {
        chunk(chunk, size) {
          chunks.push(Buffer.from(chunk).readUInt32BE(0))
          bytes += size
        },
        ended(error) {
          ended = error
        },
      },
    )
    await until(() => chunks.length === 5, 'the first credit is used')
    expect(written).toBe(5)
    while (ended === undefined) {
      const had = bytes
      bytes = 0
      stream.grant(had)
      await until(() => bytes > 0 || ended !== undefined, 'more chunks')
    }
    expect(ended).toBeNull()
    expect(chunks).toEqual(Array.from({ length: 500 }, (_, i) => i))
  })

  test('a stream fails with the error of its handler, times out when silent, and can be cancelled', async () => {
    const { a, b } = await pair()
    const channel = streams()
    let sink: StreamSink<Uint8Array> | null = null
    let cancelled = 0
    b.peers.handleStreams(channel, (request, opened) => {
      sink = opened
      opened.onCancel = () => cancelled++
      if (request.length === 1) opened.fail(new BrokerError('REPLICA_GONE', 'gone'))
    })
    const ended: (BrokerError | null)[] = []
    const open = (size: number) =>
      a.peers.open(
        b.id,
        channel,
        Buffer.alloc(size),
        { creditBytes: 100, idleMs: 60 },
        { chunk() {}, ended: (error) => void ended.push(error) },
      )
    open(1)
    await until(() => ended.length === 1, 'the failure')
    expect(ended[0]).toMatchObject({ code: 'REPLICA_GONE' })
    open(2)
    await until(() => ended.length === 2 && cancelled === 1, 'the silence')
    expect(ended[1]).toMatchObject({ code: 'TIMEOUT' })
    sink = null
    const third = open(3)
    await until(() => sink !== null, 'the handler has it')
    third.cancel()
    await until(() => ended.length === 3 && cancelled === 2, 'the cancellation')
    expect(ended[2]).toMatchObject({ code: 'CANCELLED' })
    expect(sink!.ready).toBe(false)
  })

  test('messages arrive in order', async () => {
    const { a, b } = await pair()
    const seen: number[] = []
    const channel = messages()
    b.peers.handleMessages(channel, { received: (_from, message) => void seen.push(message[0]!) })
    for (let i = 0; i < 50; i++) a.peers.send(b.id, channel, Uint8Array.of(i))
    await until(() => seen.length === 50, 'all of them')
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i))
  })
})

describe('a node', () => {
  test('that drains finishes what it has and takes nothing new', async () => {
    const [a, b] = [await startNode('a'), await startNode('b')]
    introduce(a, b)
    const channel = requests()
    const waiting: IncomingCall<Uint8Array>[] = []
    b.peers.handleRequests(channel, (_request, call) => void waiting.push(call))
    const outcomes: (string | null)[] = []
    const ask = () =>
      a.peers.request(b.id, channel, Buffer.from('x'), { deadlineMs: 5_000 }, (error) => {
        outcomes.push(error?.code ?? null)
      })
    ask()
    await until(() => waiting.length === 1, 'the call')
    expect(b.peers.drain()).toBe(false)
    ask()
    await until(() => outcomes.length === 1, 'the refusal')
    // Not CLOSED, which would be this node: it may ask another one.
    expect(outcomes).toEqual(['UNAVAILABLE'])
    waiting[0]!.answer(Buffer.from('y'))
    await until(() => b.peers.drain(), 'nothing is left')
    expect(outcomes).toEqual(['UNAVAILABLE', null])
  })

  test('that is forgotten gets nothing any more, and what waits fails', async () => {
    const a = await startNode('a')
    const b = await startNode('b')
    introduce(a, b)
    b.peers.handleRequests(requests(), () => {})
    let code: string | undefined
    a.peers.request(b.id, requests(), Buffer.from('x'), { deadlineMs: 5_000 }, (error) => {
      code = error?.code
    })
    await until(() => a.peers.linkState(b.id, 'deliveries') === 'open', 'the link')
    a.peers.forget(b.id)
    expect(code).toBe('UNAVAILABLE')
    expect(a.peers.send(b.id, messages(), Buffer.from('x'))).toBe('unknown-peer')
    b.peers.ban(a.id)
    introduce(a, b)
    a.peers.send(b.id, messages(), Buffer.from('x'))
    await until(() => a.peers.linkState(b.id, 'deliveries') === 'refused', 'the ban')
    expect(b.peers.send(a.id, messages(), Buffer.from('x'))).toBe('unknown-peer')
  })

  test('takes so many calls and streams, and no more', async () => {
    const [a, b] = [await startNode('a', { pendingMax: 3 }), await startNode('b', { streamsMax: 1 })]
    introduce(a, b)
    b.peers.handleRequests(requests(), () => {})
    b.peers.handleStreams(streams(), () => {})
    const codes: (string | undefined)[] = []
    for (let i = 0; i < 4; i++) {
      const record = (error: BrokerError | null) => void codes.push(error?.code)
      a.peers.request(b.id, requests(), Buffer.from('x'), { deadlineMs: 5_000 }, record)
    }
    await until(() => codes.length === 1, 'the fourth call')
    expect(codes).toEqual(['OVERLOADED'])
    const receiver = { chunk() {}, ended: (error: BrokerError | null) => void codes.push(error?.code) }
    const options = { creditBytes: 10, idleMs: 5_000 }
    a.peers.open(b.id, streams(), Buffer.from('x'), options, receiver)
    a.peers.open(b.id, streams(), Buffer.from('x'), options, receiver)
    await until(() => codes.length === 2, 'the second stream')
    expect(codes[1]).toBe('OVERLOADED')
  })
})
