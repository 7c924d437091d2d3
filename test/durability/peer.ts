import { connect as openSocket } from 'node:net'
import { generate, type IConnackPacket, type IPublishPacket, type Packet, type Parser, parser } from 'mqtt-packet'
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
  /** Connections so far. */
  protected connection = 0
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

  /** The connection breaks; the client dials again. */
  drop(): void {
    this.#link?.destroy()
  }

  protected abstract connected(): void
  protected abstract received(packet: Packet): void
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
    packets.on('packet', (packet) => {
      if (this.#parser === packets) this.#receive(packet)
    })
    packets.on('error', (error) => this.notice('protocol', `unreadable bytes: ${error.message}`))
    this.#parser = packets
    this.#link = this.around.dial({
      onData: (bytes) => {
        if (this.#parser === packets) packets.parse(bytes)
      },
      onClose: () => this.#closed(),
    })
    this.send({
      cmd: 'connect',
      clientId: this.clientId,
      protocolId: 'MQTT',
      protocolVersion: this.version,
      clean: false,
      keepalive: 0,
      ...(this.version === 5
        ? { properties: { sessionExpiryInterval: NEVER_SECONDS, receiveMaximum: this.receiveMaximum } }
        : {}),
    })
  }

  #closed(): void {
    this.#link = null
    this.#parser = null
    this.#accepted = false
    if (!this.#wanted) return
    this.around.later(1 + this.around.random.float() * REDIAL_MS_MAX, () => {
      if (this.#wanted && this.#link === null) this.#dial()
    })
  }

  #receive(packet: Packet): void {
    if (packet.cmd === 'connack') this.#accept(packet)
    else if (packet.cmd !== 'disconnect') this.received(packet)
  }

  #accept({ sessionPresent, reasonCode, returnCode }: IConnackPacket): void {
    // A broker that is starting or stopping may refuse; it closes, and the client dials again.
    if ((this.version === 5 ? reasonCode : returnCode) !== 0) return
    this.#accepted = true
    if (this.#established && !sessionPresent) {
      this.notice('session-lost', 'CONNACK without Session Present')
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
export function dialTcp(port: () => number): Dial {
  return ({ onData, onClose }) => {
    const socket = openSocket({ port: port(), host: '127.0.0.1', noDelay: true })
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
