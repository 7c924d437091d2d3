import type { Buffer } from 'node:buffer'
import mqtt, { type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'
import type { Device } from './device.ts'
import { GROUP } from './ledger.ts'
import type { Line } from './line.ts'
import type { Machine } from './node.ts'

const SUCCESS_MAX = 0x7f

/** One network connection of a client: its packets, by an independent codec, and what each may say. */
export class Link {
  readonly number: number
  readonly machine: Machine
  readonly device: Device
  state: 'connecting' | 'open' | 'closed' = 'connecting'
  /** When the CONNACK left the broker; null before. */
  ownsSinceMs: number | null = null
  /** The client does not listen any more, as one that is on another network by now. */
  deaf = false
  /** How the client ended it; null: it has not. */
  ended: 'disconnect' | 'will' | 'cut' | null = null
  readonly cleanStart: boolean
  readonly connectedMs: number
  endedMs = 0
  #line: Line | null = null
  readonly #parser
  #parsed: Packet[] = []
  /** PUBACKs and PUBRECs that the broker owes, in the order of the publishes. */
  readonly #owed: { cmd: 'puback' | 'pubrec'; id: number }[] = []
  /** Packet ids of the broker's that are in use on this connection. */
  readonly #inFlight = new Set<number>()

  constructor(device: Device, machine: Machine, number: number, cleanStart: boolean) {
    this.device = device
    this.machine = machine
    this.number = number
    this.cleanStart = cleanStart
    this.connectedMs = device.ledger.nowMs
    this.#parser = mqtt.parser({ protocolVersion: device.version })
    this.#parser.on('packet', (packet) => void this.#parsed.push(packet))
    this.#parser.on('error', (error) => device.fail(`The broker sends what is no packet: ${error.message}`))
  }

  get name(): string {
    return `${this.device.name}#${this.number}@${this.machine.name}`
  }

  /** False: nobody listens there. */
  open(connect: IConnectPacket): boolean {
    this.#line = this.device.it.dial(this.machine, {
      leaving: (bytes) => this.#leaving(bytes),
      closed: () => this.#closed(),
    })
    if (this.#line === null) {
      this.state = 'closed'
      return false
    }
    this.send(connect)
    return true
  }

  send(...packets: Packet[]): void {
    if (this.state === 'closed') return
    for (const packet of packets) this.#noteSent(packet)
    const bytes = packets.map((packet) => mqtt.generate(packet, { protocolVersion: this.device.version }))
    this.device.it.note(`${this.name} ${packets.map(wordsOf).join('; ')}`)
    for (const each of bytes) this.#line!.send(each)
  }

  /** As a client that says goodbye, in so many words or without any. */
  end(how: 'disconnect' | 'will' | 'cut' | 'silent'): void {
    if (this.state === 'closed') return
    // Version 4 has no word for a goodbye that leaves the will.
    this.ended = how === 'silent' ? 'cut' : how === 'will' && this.device.version === 4 ? 'disconnect' : how
    this.endedMs = this.device.ledger.nowMs
    if (how === 'disconnect' || how === 'will') {
      if (this.state === 'open') this.send({ cmd: 'disconnect', reasonCode: how === 'will' ? 4 : 0 } as Packet)
      this.#line!.end()
      this.#closed()
    } else this.#line!.cut(how === 'silent')
  }

  /** Reads nothing for a while. */
  stop(): void {
    this.#line?.stop()
  }

  go(): void {
    this.#line?.go()
  }

  /** The client is done with a packet id of the broker's. */
  done(id: number): void {
    this.#inFlight.delete(id)
  }

  #noteSent(packet: Packet): void {
    if (packet.cmd !== 'publish' || packet.qos === 0) return
    this.#owed.push({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', id: packet.messageId! })
  }

  #leaving(bytes: Buffer): () => void {
    this.#parser.parse(bytes)
    const packets = this.#parsed
    this.#parsed = []
    for (const packet of packets) this.#left(packet)
    return () => {
      if (this.state === 'closed' || this.deaf) return
      for (const packet of packets) {
        this.device.it.note(`${this.name} < ${wordsOf(packet)}`)
        this.device.took(this, packet)
      }
    }
  }

  /** What a packet may say is decided when it leaves: what is on its way cannot be called back. */
  #left(packet: Packet): void {
    const { device } = this
    switch (packet.cmd) {
      case 'connack':
        if ((packet.reasonCode ?? packet.returnCode ?? 0) > 0) return
        this.ownsSinceMs = device.ledger.nowMs
        return device.owned(this)
      case 'publish':
        device.acts(this, packet)
        return this.#publishLeft(packet)
      case 'puback':
      case 'pubrec':
        device.acts(this, packet)
        return this.#answerLeft(packet.cmd, packet.messageId!, packet.reasonCode ?? 0)
      case 'pubrel':
      case 'pubcomp':
      case 'suback':
      case 'unsuback':
        return device.acts(this, packet)
      default:
    }
  }

  #publishLeft({ qos, messageId, topic, payload }: IPublishPacket): void {
    const { device } = this
    const publish = device.ledger.read(device.tenant, topic, payload as Buffer)
    publish.leftMs = Math.min(publish.leftMs, device.ledger.nowMs)
    if (qos === 0) return
    const { member } = publish
    if (member !== null && member !== device.name && device.filters.includes(GROUP)) {
      device.fail(`M7: ${this.name} gets message ${publish.number} of a group though ${member} has it`)
    }
    if (this.#inFlight.has(messageId!)) device.fail(`M9: packet id ${messageId} is used twice on ${this.name}`)
    this.#inFlight.add(messageId!)
    if (this.#inFlight.size > device.receiveMaximum) {
      device.fail(`M9: ${this.#inFlight.size} messages in flight on ${this.name}, of ${device.receiveMaximum}`)
    }
  }

  #answerLeft(cmd: 'puback' | 'pubrec', id: number, reasonCode: number): void {
    const head = this.#owed.shift()
    if (head === undefined || head.cmd !== cmd || head.id !== id) {
      const owed = head === undefined ? 'nothing' : `${head.cmd} ${head.id}`
      this.device.fail(`M9: ${cmd} ${id} leaves on ${this.name} where ${owed} is owed`)
    }
    void (reasonCode > SUCCESS_MAX)
  }

  #closed(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.device.it.note(`${this.name} closed`)
    this.device.lost(this)
  }
}

function wordsOf(packet: Packet): string {
  const { cmd, messageId = '' } = packet
  if (packet.cmd === 'publish') {
    const { topic, qos, retain, dup, payload } = packet
    const flags = `${retain ? ' retain' : ''}${dup ? ' dup' : ''}`
    return `publish ${messageId} ${Number.parseInt(payload.toString(), 10)} ${topic} qos ${qos}${flags}`
  }
  if (packet.cmd === 'subscribe') return `subscribe ${messageId} ${packet.subscriptions.map(({ topic }) => topic)}`
  if (packet.cmd === 'unsubscribe') return `unsubscribe ${messageId} ${packet.unsubscriptions}`
  if (packet.cmd === 'connect') return `connect ${packet.protocolVersion}${packet.clean === true ? ' clean' : ''}`
  if (packet.cmd === 'connack') return `connack ${packet.reasonCode ?? packet.returnCode} ${packet.sessionPresent}`
  return `${cmd} ${messageId} ${'reasonCode' in packet ? packet.reasonCode : ''}`
}
