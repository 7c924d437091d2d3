import { expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { Control } from '../../../src/node/cluster/control.ts'
import type { AnswerCallback, IncomingCall, Peers, RequestHandler } from '../../../src/rpc/index.ts'

/** Peers of one node: what it asks, it is asked. */
function world() {
  let handler: RequestHandler<object | null, object>
  const ask = (question: object | null, callback: AnswerCallback<object>) => {
    const call: Partial<IncomingCall<object>> = {
      answer: (value) => callback(null, value),
      fail: (error) => callback(error, null),
    }
    handler(question, call as IncomingCall<object>)
  }
  const peers = {
    handleRequests: (_channel: unknown, given: typeof handler) => {
      handler = given
    },
    request: (_to: HostId, _channel: unknown, question: object, _options: unknown, callback: AnswerCallback<object>) =>
      ask(question, callback),
  } as unknown as Peers
  return { control: new Control(peers), ask }
}

test('a node that starts or stops says so; in between it answers', async () => {
  const { control } = world()
  await expect(control.statusOf('n1' as HostId)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  control.serve(() => ({ name: 'n1' }))
  expect(await control.statusOf('n1' as HostId)).toEqual({ name: 'n1' })
  control.serve(null)
  await expect(control.statusOf('n1' as HostId)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})

test.each([[{ ask: 'the moon' }], [{}], [null]])('a question that it does not know: %j', (question) => {
  const { control, ask } = world()
  control.serve(() => ({}))
  let refused: BrokerError | null = null
  ask(question, (error) => {
    refused = error
  })
  expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT' })
})

test('other questions have their own answer; what goes wrong there is told', async () => {
  const { control } = world()
  control.serve(() => ({}))
  control.handle('sum', ({ a, b }) => ({ sum: Number(a) + Number(b) }))
  control.handle('refuse', async () => {
    throw new BrokerError('NOT_LEADER', 'No')
  })
  control.handle('break', () => {
    throw new TypeError('Oh')
  })
  const node = 'n1' as HostId
  expect(await control.ask(node, { ask: 'sum', a: 1, b: 2 })).toEqual({ sum: 3 })
  await expect(control.ask(node, { ask: 'refuse' })).rejects.toMatchObject({ code: 'NOT_LEADER', message: 'No' })
  await expect(control.ask(node, { ask: 'break' })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  control.serve(null)
  await expect(control.ask(node, { ask: 'sum' })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})
