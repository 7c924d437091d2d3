import { generate, type IConnectPacket, type Packet, type PacketCmd, parser } from 'mqtt-packet'
import type { Until } from './fleet.ts'
import type { Dial, Link } from './peer.ts'

/** Session Expiry Interval that never ends. */
export const NEVER = 0xffffffff

/** An MQTT 5 client that says what a test tells it to, and keeps what it hears. It answers nothing by itself. */
export class Talker {
  readonly heard: Packet[] = []
  closed = false
  readonly #until: Until
  readonly #link: Link
  #packetId = 0

  constructor(dial: Dial, until: Until) {
    this.#until = until
    const packets = parser({ protocolVersion: 5 })
    packets.on('packet', (packet) => void this.heard.push(packet))
    this.#link = dial({
      onData: (bytes) => void packets.parse(bytes),
      onClose: () => {
        this.closed = true
      },
    })
  }

  /** Connects without a clean start, and gives the CONNACK. */
  async connect(clientId: string, fields: Partial<IConnectPacket> = {}): Promise<Packet & { cmd: 'connack' }> {
    const properties = { sessionExpiryInterval: NEVER, ...fields.properties }
    const head = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: false, keepalive: 0 } as const
    this.send({ ...head, clientId, ...fields, properties })
    return await this.expect('connack')
  }

  send(packet: Packet): void {
    this.#link.write(generate(packet, { protocolVersion: 5 }))
  }

  async subscribe(filter: string, qos: 1 | 2): Promise<void> {
    this.send({ cmd: 'subscribe', messageId: ++this.#packetId, subscriptions: [{ topic: filter, qos }] })
    await this.expect('suback')
  }

  /** Resolves with the acknowledgement; QoS 2 stays at its PUBREC. */
  async publish(
    topic: string,
    payload: string,
    fields: { qos?: 1 | 2; retain?: boolean; expirySeconds?: number } = {},
  ): Promise<void> {
    const { qos = 1, retain = false, expirySeconds } = fields
    const properties = expirySeconds === undefined ? {} : { messageExpiryInterval: expirySeconds }
    const messageId = ++this.#packetId
    this.send({ cmd: 'publish', topic, payload, qos, retain, dup: false, messageId, properties })
    await this.expect(qos === 1 ? 'puback' : 'pubrec', messageId)
  }

  /** The next packet of that kind, with that packet id; those before it stay. */
  async expect<Cmd extends PacketCmd>(cmd: Cmd, packetId?: number): Promise<Packet & { cmd: Cmd }> {
    const fits = (packet: Packet) => packet.cmd === cmd && (packetId === undefined || packet.messageId === packetId)
    const at = () => this.heard.findIndex(fits)
    if (!(await this.#until(() => at() >= 0 || this.closed)) || at() < 0) {
      throw new Error(`No ${cmd}; heard ${this.heard.map((packet) => packet.cmd).join(', ')}, closed: ${this.closed}`)
    }
    return this.heard.splice(at(), 1)[0] as Packet & { cmd: Cmd }
  }

  /** Payloads of the PUBLISH packets that were heard. */
  get payloads(): string[] {
    return this.heard.flatMap((packet) => (packet.cmd === 'publish' ? [packet.payload.toString()] : []))
  }

  /** The connection breaks: a will is due. */
  drop(): void {
    this.#link.destroy()
  }
}
