import type { HostId } from '../../../../src/base/ids.ts'
import type {
  Address,
  HostRecord,
  HostState,
  HostView,
  UnderlayNotice,
  UnderlayPort,
} from '../../../../src/cluster/underlay/index.ts'

/** An underlay by hand: hosts are what the test says, payloads go to whoever is plugged in. */
export class FakeUnderlay implements UnderlayPort {
  readonly self: HostRecord
  readonly cluster = null
  readonly sent: { to: HostId; payload: Uint8Array }[] = []
  peers = new Map<HostId, FakeUnderlay>()
  readonly #members = new Map<HostId, HostView>()
  readonly #listeners = new Set<(notice: UnderlayNotice) => void>()
  #receiver: (from: HostId, payload: Uint8Array) => void = () => {}

  constructor(id: string, life = 1) {
    this.self = recordOf(id, life)
  }

  members(): HostView[] {
    return [...this.#members.values()]
  }

  member(host: HostId): HostView | null {
    return this.#members.get(host) ?? null
  }

  on(listener: (notice: UnderlayNotice) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onPayload(receiver: (from: HostId, payload: Uint8Array) => void): void {
    this.#receiver = receiver
  }

  sendPayload(to: HostId, payload: Uint8Array): void {
    this.sent.push({ to, payload })
    this.peers.get(to)?.receive(this.self.id, payload)
  }

  receive(from: HostId, payload: Uint8Array): void {
    this.#receiver(from, payload)
  }

  get listeners(): number {
    return this.#listeners.size
  }

  setMetadata(): void {}
  doubt(): void {}

  /** Changes how it sees a host, and tells so. */
  sees(
    id: string,
    state: HostState,
    type: 'joined' | 'alive' | 'suspect' | 'dead' | 'left' | 'restarted',
    life = 1,
  ): void {
    const host: HostView = { ...recordOf(id, life), state, stateIncarnation: 1 }
    this.#members.set(host.id, host)
    const by = this.self.id
    const notice = { type, host, previous: host, by } as UnderlayNotice
    for (const listener of this.#listeners) listener(notice)
  }
}

function recordOf(id: string, life: number): HostRecord {
  return { id: id as HostId, incarnation: 1, life, address: '127.0.0.1:1' as Address, metadata: new Map() }
}
