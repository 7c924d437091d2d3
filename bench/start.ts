/** Scenario `start`: from the start of the broker's process to the first message that went through it. */
import { type BrokerOptions, launch } from './brokers/index.ts'
import { encodePublish } from './generator/codec.ts'
import { noMessages } from './generator/context.ts'
import { Link } from './generator/link.ts'
import type { Measured } from './spec.ts'

const retryMs = 5
const timeoutMs = 15_000
const topic = 'bench/first'

class FirstMessage extends Link {
  #arrived: () => void = () => {}
  readonly arrived = new Promise<void>((resolve) => {
    this.#arrived = resolve
  })

  override onPublish(): void {
    this.#arrived()
  }

  publish(): void {
    const packet = encodePublish({ version: 4, qos: 0, retain: false, topic, payload: Buffer.alloc(64) })
    this.append(packet, 0, packet.length)
    this.flush()
  }
}

export async function measureStart(options: BrokerOptions): Promise<Measured> {
  if (options.name === 'external') throw new Error('Cannot run "start": an external broker has started already')
  const began = performance.now()
  const broker = await launch(options)
  try {
    const client = await connected(broker, began)
    await client.subscribe([topic], 0)
    client.publish()
    await client.arrived
    const ms = performance.now() - began
    await client.close()
    return {
      received: 1,
      seconds: ms / 1000,
      receivedPerSecond: 1000 / ms,
      latency: null,
      ...noMessages,
      sent: 1,
      cpuMicrosPerMessage: null,
      brokerCpuPercent: null,
      generatorCpuPercent: 0,
      extra: { startToFirstMessageMs: ms },
    }
  } finally {
    await broker.stop()
  }
}

async function connected(broker: Awaited<ReturnType<typeof launch>>, began: number): Promise<FirstMessage> {
  const { host, port } = broker.target
  for (;;) {
    const client = new FirstMessage({ host, port, version: 4, clientId: 'first' })
    try {
      await client.open()
      return client
    } catch (error) {
      if (performance.now() - began > timeoutMs || !broker.running()) {
        throw new Error(`The broker does not accept clients. It said:\n${broker.output()}`, { cause: error })
      }
      await new Promise((resolve) => setTimeout(resolve, retryMs))
    }
  }
}
