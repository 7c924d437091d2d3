import { describe, expect, test } from 'vitest'
import { type WillDecision, type WillMoment, willDecision, willDueMs } from '../../src/inbox/store/will.ts'
import { code, START_MS, TENANT, World, will } from './harness.ts'

const NEVER = 0xffffffff

describe('the table: will x delay x expiry x what happened', () => {
  const resume = false
  const clean = true
  const cases: [WillMoment, number, number, boolean, WillDecision][] = [
    // DISCONNECT with 0x00 deletes it [MQTT-3.1.2-8]
    ['disconnected', 0, 0, resume, 'discard'],
    ['disconnected', 60, 3_600, resume, 'discard'],
    ['disconnected', 60, NEVER, resume, 'discard'],
    // any other end: at once, or after the delay where the session goes on
    ['lost', 0, 0, resume, 'fire'],
    ['lost', 0, 3_600, resume, 'fire'],
    ['lost', 60, 0, resume, 'fire'],
    ['lost', 60, 30, resume, 'arm'],
    ['lost', 60, 3_600, resume, 'arm'],
    ['lost', 60, NEVER, resume, 'arm'],
    // another connection while this one is: the session goes on, or was ended by expiry 0 or clean start
    ['taken-over', 0, 3_600, resume, 'fire'],
    ['taken-over', 60, 3_600, resume, 'discard'],
    ['taken-over', 60, 0, resume, 'fire'],
    ['taken-over', 0, 3_600, clean, 'fire'],
    ['taken-over', 60, 3_600, clean, 'fire'],
    ['taken-over', 60, NEVER, clean, 'fire'],
    // another connection before the delay is over [MQTT-3.1.3-9]
    ['returned', 60, 3_600, resume, 'discard'],
    ['returned', 60, NEVER, resume, 'discard'],
    ['returned', 60, 3_600, clean, 'fire'],
    // time
    ['delay-over', 60, 3_600, resume, 'fire'],
    ['ended', 60, 30, resume, 'fire'],
    ['ended', NEVER, 30, resume, 'fire'],
    // an operator
    ['removed', 0, 3_600, resume, 'discard'],
    ['removed', 60, 0, resume, 'discard'],
  ]
  test.each(cases)(
    '%s, delay %i s, expiry %i s, clean start %s: %s',
    (moment, delaySeconds, expirySeconds, cleanStart, decision) => {
      expect(willDecision({ moment, delaySeconds, expirySeconds, cleanStart })).toBe(decision)
    },
  )

  test.each([
    [60, 3_600, 60],
    [60, 30, 30],
    [60, NEVER, 60],
    [NEVER, 30, 30],
  ])('delay %i s and expiry %i s are over after %i s', (delaySeconds, expirySeconds, seconds) => {
    expect(willDueMs(5, delaySeconds, expirySeconds)).toBe(5 + seconds * 1_000)
  })
})

const payloads = (world: World) => world.wills.map(({ payload }) => payload)

describe('a will', () => {
  test('of a session that is nothing else fires when the connection is lost, and leaves nothing behind', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { expirySeconds: 0, will: will('w') }))
    await world.settle()
    expect(payloads(world)).toEqual(['w'])
    expect(world.wills[0]!.client).toBe('c')
    expect(world.keys).toBe(0)
    await world.advance(120_000)
    expect(payloads(world)).toEqual(['w'])
  })

  test('is deleted by DISCONNECT', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { expirySeconds: 0, will: will('w', 5) }), { discardWill: true })
    await world.detach(await world.owner('d', { will: will('w', 5) }), { discardWill: true })
    await world.advance(7_200_000)
    expect(payloads(world)).toEqual([])
    expect(world.keys).toBe(0)
  })

  test('waits for its delay, to the second, and its timestamp is that of its publication', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { will: will('w', 5) }))
    await world.advance(4_999)
    expect(payloads(world)).toEqual([])
    await world.advance(1)
    expect(payloads(world)).toEqual(['w'])
    expect(world.wills[0]!.message.timestamp).toBe((START_MS + 5_000) * 1024)
    await world.advance(7_200_000)
    expect(payloads(world)).toEqual(['w'])
  })

  test('fires with the end of the session where that is earlier, before the session is gone', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { expirySeconds: 3, will: will('w', 5) }))
    await world.advance(3_000)
    expect(payloads(world)).toEqual(['w'])
    expect(world.ended).toHaveLength(1)
    await world.advance(10_000)
    expect(payloads(world)).toEqual(['w'])
  })

  test('is cancelled by a resume before its delay; the new connection has its own', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { will: will('old', 5) }))
    await world.advance(4_000)
    const owner = await world.owner('c', { will: will('new', 1) })
    expect(world.keys).toBe(3) // session, tally, will
    await world.advance(60_000)
    expect(payloads(world)).toEqual([])
    await world.detach(owner)
    await world.advance(1_000)
    expect(payloads(world)).toEqual(['new'])
  })

  test('without a will in the new connection, the old one is gone', async () => {
    const world = new World().start()
    await world.owner('c', { will: will('old', 5) })
    await world.detach(await world.owner('c'))
    await world.advance(60_000)
    expect(payloads(world)).toEqual([])
  })

  test('fires at a clean start, at a takeover without delay, and at one of a session without expiry', async () => {
    const world = new World().start()
    await world.owner('c', { will: will('clean', 5) })
    await world.owner('c', { cleanStart: true })
    await world.owner('d', { will: will('no delay') })
    await world.owner('d')
    await world.owner('e', { expirySeconds: 0, will: will('no expiry', 5) })
    expect((await world.attach('e')).sessionPresent).toBe(false)
    await world.settle()
    expect(payloads(world)).toEqual(['clean', 'no delay', 'no expiry'])
  })

  test('fires at a return after its delay, also where no timer ran yet', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { will: will('w', 5) }))
    world.clock.nowMs += 5_000
    expect((await world.attach('c')).sessionPresent).toBe(true)
    await world.advance(0)
    expect(payloads(world)).toEqual(['w'])
  })

  test('is announced again until it is out, with the same number', async () => {
    const world = new World().start()
    world.failWills = true
    await world.detach(await world.owner('c', { expirySeconds: 0, will: will('w') }))
    await world.advance(29_000)
    expect(payloads(world)).toEqual(['w'])
    await world.advance(1_000)
    expect(payloads(world)).toEqual(['w', 'w'])
    world.failWills = false
    await world.advance(30_000)
    await world.advance(300_000)
    expect(payloads(world)).toEqual(['w', 'w', 'w'])
    const [first, ...others] = world.wills
    for (const other of others) expect(other).toEqual(first)
    expect(world.keys).toBe(0)
  })

  test('is not announced again while it is on its way', async () => {
    const world = new World().start()
    let release = () => {}
    world.holdWills = new Promise((resolve) => {
      release = resolve
    })
    await world.detach(await world.owner('c', { expirySeconds: 0, will: will('w') }))
    await world.advance(90_000)
    expect(payloads(world)).toEqual(['w'])
    release()
    await world.advance(90_000)
    expect(payloads(world)).toEqual(['w'])
    expect(world.keys).toBe(0)
  })

  test('its number is not another one`s, in the same session or the next', async () => {
    const world = new World().start()
    world.failWills = true
    for (let i = 0; i < 3; i++) await world.detach(await world.owner('c', { expirySeconds: 0, will: will('w') }))
    const owner = await world.owner('c', { will: will('w') })
    const { number, floor } = await world.inbox.receive(owner, 1)
    await world.detach(owner)
    await world.settle()
    const numbers = [...world.wills.map(({ dedup }) => dedup.number), number]
    expect(new Set(numbers).size).toBe(5)
    // A number that is still under way is not below the floor.
    expect(floor).toBe(Math.min(...numbers))
  })

  test('that fired before anybody listens is published when somebody does', async () => {
    const world = new World()
    await world.detach(await world.owner('c', { expirySeconds: 0, will: will('w') }))
    world.start()
    await world.settle()
    expect(payloads(world)).toEqual(['w'])
  })

  test('its bytes are not those of the packet that brought it', async () => {
    const world = new World().start()
    const packet = Buffer.from('will')
    const given = will('')
    const attached = world.attach('c', {
      will: { ...given, message: { ...given.message, payload: packet.subarray(0, 4) } },
    })
    packet.fill(0)
    await world.detach((await attached).owner)
    await world.settle()
    expect(payloads(world)).toEqual(['will'])
  })
})

describe('after a split', () => {
  test('timers of both parts fire, on time once the right part has its index', async () => {
    const world = new World(undefined, []).start()
    const names = Array.from({ length: 600 }, (_, i) => `c${String(i).padStart(3, '0')}`)
    await Promise.all(
      names.map(async (name) => world.detach(await world.owner(name, { expirySeconds: 10, will: will(name, 5) }))),
    )
    await world.store.split('inbox', Buffer.from(`${TENANT}\0c100\0`))
    await world.advance(5_000)
    expect(payloads(world).sort()).toEqual(names)
    await world.advance(5_000)
    expect(world.ended).toHaveLength(600)
    expect(world.store.health()).toEqual([])
    await world.advance(60_000)
    expect(world.keys).toBe(0)
  })

  test('sessions go on in the part that they are in', async () => {
    const world = new World(undefined, []).start()
    const owners = await Promise.all(['a', 'm', 'z'].map((name) => world.owner(name)))
    const clients = owners.map((owner) => world.open(owner))
    await world.store.split('inbox', Buffer.from(`${TENANT}\0m\0`))
    expect(await world.insert('1', owners)).toEqual(['ok', 'ok', 'ok'])
    await world.store.split('inbox', Buffer.from(`${TENANT}\0z\0`))
    expect(await world.insert('2', owners)).toEqual(['ok', 'ok', 'ok'])
    for (const client of clients) expect(client.seen).toEqual(['1', '2'])
    expect(await code(world.attach('m', { cleanStart: true }))).toBe('ok')
    expect(world.store.ranges()).toHaveLength(3)
    expect(world.store.health()).toEqual([])
  })
})

describe('after a merge', () => {
  test('timers of both parts fire, and one index is left', async () => {
    const world = new World(undefined, []).start()
    const names = Array.from({ length: 300 }, (_, i) => `c${String(i).padStart(3, '0')}`)
    await world.store.split('inbox', Buffer.from(`${TENANT}\0c100\0`))
    await Promise.all(
      names.map(async (name) => world.detach(await world.owner(name, { expirySeconds: 10, will: will(name, 5) }))),
    )
    await world.advance(500)
    const [left, right] = world.store.ranges().map(({ descriptor }) => descriptor.id)
    const merged = world.store.merge(left!, right!)
    for (let i = 0; i < 10; i++) await world.advance(60)
    await merged
    expect(world.store.ranges()).toHaveLength(1)
    await world.advance(5_000)
    expect(payloads(world).sort()).toEqual(names)
    await world.advance(5_000)
    expect(world.ended).toHaveLength(300)
    expect(world.store.health()).toEqual([])
    await world.advance(60_000)
    expect(world.keys).toBe(0)
  })
})
