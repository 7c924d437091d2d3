import { connect as openSocket } from 'node:net'
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
  type Parser,
  parser,
} from 'mqtt-packet'
import type { Random } from '../../src/base/clock.ts'
import type { Anomaly, History } from './checker.ts'

/** A client's end of a connection. */
export interface Link {
  write(bytes: Buffer): void
  /** Closes at once; `onClose` follows. */
  destroy(): void
}

/** Opens a connection. The handlers are called later, `onClose` once: also where nobody listens. */
export type Dial = (handlers: { onData: (bytes: Buffer) => void; onClose: () => void }) => Link

/** What all clients of a run share. */
export interface Surroundings {
  dial: Dial
  history: History
  random: Random
  now(): number
  later(ms: number, callback: () => void): void
}

export type Version = 4 | 5

export interface PeerOptions {
  clientId: string
  version: Version
  surroundings: Surroundings
  /** Receive Maximum of an MQTT 5 client, which the broker must obey. Default 65,535. */
  receiveMaximum?: number
  /** The session ends with its connection. Default false. */
  transient?: boolean
  /** Until it dials again after a connection broke, at most, ms. Default 20. */
  redialMsMax?: number
  /** A connection that has not said anything for so long is given up, ms. Default never. */
  patienceMs?: number
}

const REDIAL_MS_MAX = 20
const NEVER_SECONDS = 0xffffffff

/**
 * A client with a persistent session that wants to be connected, and dials again until it is.
 *
 * Its bytes are made and read by `mqtt-packet`, so that a mistake in the broker's codec does not hide itself.
 */
export abstract class Peer {
  readonly clientId: string
  protected readonly version: Version
  protected readonly around: Surroundings
  protected readonly receiveMaximum: number
  protected readonly transient: boolean
  /** Connections so far. */
  protected connection = 0
  readonly #redialMsMax: number
  readonly #patienceMs: number
  /** Connections that were left open. */
  readonly #strays = new Set<Link>()
  #link: Link | null = null
  #parser: Parser | null = null
  #accepted = false
  /** A CONNACK came once: from then on the broker owes the session. */
  #established = false
  #wanted = false

  constructor(options: PeerOptions) {
    this.clientId = options.clientId
    this.version = options.version
    this.around = options.surroundings
    this.receiveMaximum = options.version === 5 ? (options.receiveMaximum ?? 65_535) : 65_535
    this.transient = options.transient ?? false
    this.#redialMsMax = options.redialMsMax ?? REDIAL_MS_MAX
    this.#patienceMs = options.patienceMs ?? Number.POSITIVE_INFINITY
  }

  /** Connected, and accepted. */
  get online(): boolean {
    return this.#accepted
  }

  /** Wants to be connected from now on. */
  join(): void {
    this.#wanted = true
    if (this.#link === null) this.#dial()
  }

  /** Leaves, with or without saying so. */
  leave(politely: boolean): void {
    this.#wanted = false
    if (politely && this.#accepted) this.send({ cmd: 'disconnect' })
    this.#link?.destroy()
  }

  /** Leaves with a word, and waits for the broker to close. */
  part(): void {
    this.#wanted = false
    if (this.#accepted) this.send({ cmd: 'disconnect' })
    else this.#link?.destroy()
  }

  /** The connection breaks; the client dials again. */
  drop(): void {
    this.#link?.destroy()
  }

  /** Connects once more and leaves the older connection open: the broker has to close it. */
  stray(): void {
    if (this.#link === null || !this.#accepted) return
    this.#strays.add(this.#link)
    this.#closed()
  }

  /** Connections that were left open and still are. */
  get strays(): number {
    return this.#strays.size
  }

  /** Closes what was left open. */
  gather(): void {
    for (const link of this.#strays) link.destroy()
  }

  /** A packet on a connection that was left open. */
  protected overheard(_packet: Packet): void {}

  /** What the CONNECT says beyond the session. */
  protected get introduction(): Partial<IConnectPacket> {
    return {}
  }

  protected abstract connected(): void
  protected abstract received(packet: Packet): void
  /** A connection that was accepted has ended, or was left. */
  protected disconnected(): void {}
  /** The session is gone: its state means nothing any more. */
  protected abstract forgotten(): void

  protected send(packet: Packet): void {
    this.#link?.write(generate(packet, { protocolVersion: this.version }))
  }

  protected notice(kind: Anomaly['kind'], detail: string): void {
    this.around.history.anomalies.push({
      kind,
      session: this.clientId,
      detail: `${detail} (connection ${this.connection})`,
    })
  }

  #dial(): void {
    this.connection++
    const packets = parser({ protocolVersion: this.version })
    const isCurrent = () => this.#parser === packets
    let heardMs = this.around.now()
    packets.on('packet', (packet) => {
      if (isCurrent()) this.#receive(packet)
      else if (this.#strays.has(link)) this.overheard(packet)
    })
    packets.on('error', (error) => this.notice('protocol', `unreadable bytes: ${error.message}`))
    const link = this.around.dial({
      onData: (bytes) => {
        heardMs = this.around.now()
        if (isCurrent() || this.#strays.has(link)) packets.parse(bytes)
      },
      onClose: () => {
        this.#strays.delete(link)
        if (isCurrent()) this.#closed()
      },
    })
    this.#parser = packets
    this.#link = link
    this.send({
      cmd: 'connect',
      clientId: this.clientId,
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: this.transient,
      keepalive: 0,
      ...(this.version === 5
        ? {
            properties: {
              sessionExpiryInterval: this.transient ? 0 : NEVER_SECONDS,
              receiveMaximum: this.receiveMaximum,
            },
          }
        : {}),
      ...this.introduction,
    })
    if (Number.isFinite(this.#patienceMs)) this.#watch(link, () => heardMs)
  }

  #watch(link: Link, heardMs: () => number): void {
    this.around.later(this.#patienceMs / 3, () => {
      if (this.#link !== link) return
      if (this.around.now() - heardMs() > this.#patienceMs) return link.destroy()
      if (this.#accepted) this.send({ cmd: 'pingreq' })
      this.#watch(link, heardMs)
    })
  }

  #closed(): void {
    const wasAccepted = this.#accepted
    this.#link = null
    this.#parser = null
    this.#accepted = false
    if (wasAccepted) this.disconnected()
    if (!this.#wanted) return
    this.around.later(1 + this.around.random.float() * this.#redialMsMax, () => {
      if (this.#wanted && this.#link === null) this.#dial()
    })
  }

  #receive(packet: Packet): void {
    if (packet.cmd === 'connack') this.#accept(packet)
    else if (packet.cmd !== 'disconnect' && packet.cmd !== 'pingresp') this.received(packet)
  }

  #accept({ sessionPresent, reasonCode, returnCode }: IConnackPacket): void {
    // A broker that is starting or stopping may refuse; it closes, and the client dials again.
    if ((this.version === 5 ? reasonCode : returnCode) !== 0) return
    this.#accepted = true
    if (this.#established && !sessionPresent) {
      if (!this.transient) this.notice('session-lost', 'CONNACK without Session Present')
      this.forgotten()
    }
    this.#established = true
    this.connected()
  }
}

/** The reason code of an acknowledgement, 0 before MQTT 5. */
export function reasonOf(packet: Packet): number {
  return ('reasonCode' in packet ? packet.reasonCode : 0) ?? 0
}

/** Payload of a message: its id, and a filling that depends on it, so that damage shows. */
export function payloadOf(id: string): string {
  let sum = 0
  for (const char of id) sum = (sum * 31 + char.charCodeAt(0)) % 9_973
  return `${id} ${String.fromCharCode(97 + (sum % 26)).repeat(sum % 300)}`
}

/** The id that a payload begins with; another word where the payload is not as it was published. */
export function idOf({ payload }: IPublishPacket): string {
  const text = payload.toString()
  const id = text.split(' ', 1)[0]!
  return payloadOf(id) === text ? id : `damaged:${text.slice(0, 40)}`
}

/** Connections over TCP to a port that changes with every start of the broker. */
export function dialTcp(port: () => number, host = '127.0.0.1'): Dial {
  return ({ onData, onClose }) => {
    const socket = openSocket({ port: port(), host, noDelay: true })
    socket.on('data', onData)
    socket.on('error', () => {})
    socket.on('close', onClose)
    return {
      write: (bytes) => {
        if (!socket.destroyed) socket.write(bytes)
      },
      destroy: () => void socket.destroy(),
    }
  }
}
