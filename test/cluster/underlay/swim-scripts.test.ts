import { join } from 'node:path'
import { describe } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import {
  type Address,
  type ClusterId,
  FRAME_BYTES_MAX,
  type Input,
  LAN,
  type Persistent,
  Underlay,
  type UnderlayEvent,
} from '../../../src/cluster/underlay/core/index.ts'
import type { Message } from '../../../src/cluster/underlay/core/message.ts'
import { decodePacket, encodeHeader, encodeMessage, joinPacket } from '../../../src/cluster/underlay/core/wire.ts'
import { goldenScripts } from '../../golden.ts'
import { place, placeOf, showRecord, Text } from './text.ts'

describe('swim', () => goldenScripts(join(import.meta.dirname, 'swim-scripts'), interpreter))

const CLUSTER = 'c1' as ClusterId

/**
 * Speaks to one host, h1, of a formed cluster. Time stands still but for `at`, which ticks at every deadline on the way.
 *
 * `start h2 h3` (knows those), `at 1500`, `hear h2: ping #100 h1`, `request h2: push-pull`, `exchanged 1: ack #1 h2`,
 * `exchanged 1 failed`, `asleep until 5000`, `lag 2000`, `doubt h2`, `update zone=b`, `update at h9`, `send h2 100`,
 * `leave`, `leave forever`, `seeds h5 h6`, `members`, `health`. After `answering h2 h4` these answer every ping, and every
 * request to ping somebody who does not, with a nack: neither is shown.
 */
function interpreter(): (command: string) => string[] {
  const text = new Text()
  let now = 0
  let underlay!: Underlay
  let answering: string[] = []
  let answers: Input[] = []
  const step = (input: Input) => {
    underlay.step(input, now)
    return effects()
  }
  const effects = (): string[] => {
    const ready = underlay.ready()
    const shown = (bytes: Uint8Array) => {
      const packet = decodePacket(bytes, FRAME_BYTES_MAX)
      return typeof packet === 'string' ? packet : packet.messages.map((message) => text.show(message)).join(', ')
    }
    for (const { to, bytes } of ready.datagrams) answers.push(...answersOf(to, bytes))
    const at = `${Math.round(now)}`.padStart(6)
    return [
      ...ready.events.map((event) => `${at}  * ${showEvent(event)}`),
      ...ready.datagrams.map(({ to, bytes }) => `${at} -> ${place(to)}: ${shown(bytes)}`),
      ...ready.exchanges.map((exchange) => {
        const end = exchange.answered ? `for ${exchange.timeoutMs} ms` : 'no answer wanted'
        return `${at} => ${place(exchange.to)}, exchange ${exchange.exchange}, ${end}: ${shown(exchange.bytes)}`
      }),
      ...ready.answers.map(({ bytes }) => `${at} <= ${bytes === null ? 'nothing' : shown(bytes)}`),
      ...(ready.persist === null ? [] : [`${at}  ! persist ${showPersistent(ready.persist)}`]),
    ]
  }
  const packet = (sender: string, life: string | undefined, messages: string) => {
    const header = {
      clusterName: 'test',
      clusterId: CLUSTER,
      sender: sender as HostId,
      life: Number(life ?? Number(sender.slice(1)) * 1_000),
    }
    const parsed: Message[] = messages.split(',').map((message) => text.parse(message))
    return joinPacket(encodeHeader(header), parsed.map(encodeMessage))
  }
  const answersOf = (to: Address, bytes: Uint8Array): Input[] => {
    const heard = decodePacket(bytes, FRAME_BYTES_MAX)
    if (typeof heard === 'string') return []
    return heard.messages.flatMap((message): Input[] => {
      if (message.type !== 'ping' && message.type !== 'ping-req') return []
      const at = place(to)
      const sender = message.type === 'ping' && message.target !== '' ? message.target : at
      const { seq, target } = message
      const answered = message.type === 'ping' || answering.includes(target)
      const reply = answered ? `ack ${text.name(seq)} ${target || at}` : `nack ${text.name(seq)}`
      return answering.includes(sender) ? [{ type: 'datagram', from: to, bytes: packet(sender, undefined, reply) }] : []
    })
  }
  const start = (others: string[]) => {
    underlay = new Underlay(
      {
        swim: LAN,
        random: seededRandom(1),
        clusterName: 'test',
        hostId: 'h1' as HostId,
        incarnation: 1,
        startedMs: 1_000_000_000_000,
        address: placeOf('h1'),
        metadata: new Map(),
        seeded: true,
        expect: 0,
        cluster: { id: CLUSTER, formedAtMs: 1_000, lonely: false, founding: false },
        peers: [],
        freshClusterId: () => CLUSTER,
        userData: false,
      },
      now,
    )
    if (others.length > 0) {
      const states = others.map((other) => `state alive ${other}@1`).join(', ')
      underlay.step({ type: 'request', request: 1, bytes: packet(others[0]!, undefined, `push-pull, ${states}`) }, now)
      underlay.ready()
      // Nothing is on the way: the gossip of the beginning is told.
      while (underlay.gossipQueued > 0) {
        now = underlay.deadlineMs()
        underlay.step({ type: 'tick' }, now)
        underlay.ready()
      }
    }
    return ['ok']
  }
  const until = (endMs: number) => {
    const lines: string[] = []
    while (underlay.deadlineMs() <= endMs) {
      now = Math.max(now, underlay.deadlineMs())
      lines.push(...step({ type: 'tick' }))
      for (let answer = answers.shift(); answer !== undefined; answer = answers.shift()) lines.push(...step(answer))
    }
    now = endMs
    return lines
  }
  const run = (command: string): string[] => {
    const [head = '', messages = ''] = command.split(': ')
    const [name = '', ...words] = head.split(' ')
    const life = words.includes('life') ? words[words.indexOf('life') + 1] : undefined
    switch (name) {
      case 'start':
        return start(words)
      case 'at':
        return until(Number(words[0]))
      case 'hear': {
        const from = placeOf(words.includes('from') ? words[words.indexOf('from') + 1]! : words[0]!)
        return step({ type: 'datagram', from, bytes: packet(words[0]!, life, messages) })
      }
      case 'request':
        return step({ type: 'request', request: 7, bytes: packet(words[0]!, life, messages) })
      case 'exchanged': {
        const exchange = Number(words[0])
        const failed = words[1] === 'failed'
        return step({ type: 'exchanged', exchange, bytes: failed ? null : packet(words[1]!, life, messages) })
      }
      case 'asleep':
        now = Number(words[1])
        return step({ type: 'tick' })
      case 'answering':
        answering = words
        answers = []
        return ['ok']
      case 'lag':
        return step({ type: 'lag', lagMs: Number(words[0]) })
      case 'doubt':
        return step({ type: 'doubt', host: words[0] as HostId })
      case 'update':
        if (words[0] === 'at') return step({ type: 'update', address: placeOf(words[1]!) })
        return step({ type: 'update', metadata: new Map(words.map((word) => word.split('=') as [string, string])) })
      case 'send':
        return step({ type: 'send', to: words[0] as HostId, payload: new Uint8Array(Number(words[1])) })
      case 'leave':
        return step({ type: 'leave', forever: words[0] === 'forever' })
      case 'seeds':
        return step({ type: 'seeds', addresses: words.map((word): Address => placeOf(word)), complete: true })
      case 'members':
        return underlay.members().map((host) => {
          const said = host.incarnation === host.stateIncarnation ? '' : ` said ${host.incarnation}`
          return `${host.state} ${showRecord({ ...host, incarnation: host.stateIncarnation })}${said}`
        })
      case 'health':
        return [`health ${underlay.healthScore}`]
      default:
        throw new Error(`No command: ${command}`)
    }
  }
  return (command) => {
    const lines = run(command)
    return lines.length === 0 ? ['nothing'] : lines
  }
}

function showPersistent({ incarnation, peers }: Persistent): string {
  return `incarnation ${incarnation}, peers ${peers.map(place).join(' ') || 'none'}`
}

function showEvent(event: UnderlayEvent): string {
  switch (event.type) {
    case 'suspect':
    case 'dead':
      return `${event.type} ${event.host.id} by ${event.by}`
    case 'joined':
    case 'alive':
    case 'restarted':
    case 'changed':
    case 'left':
    case 'forgotten':
      return `${event.type} ${showRecord(event.host)}`
    case 'refuted':
      return `refuted as ${event.incarnation} what ${event.by} said`
    case 'stalled':
      return `stalled for ${Math.round(event.lateMs)} ms`
    case 'payload':
      return `payload of ${event.payload.length} bytes from ${event.from}`
    case 'duplicate-id':
      return `duplicate id at ${place(event.address)}${event.refused ? ': we are refused' : ''}`
    default:
      return event.type
  }
}
