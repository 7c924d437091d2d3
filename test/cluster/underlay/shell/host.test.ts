import { createSocket } from 'node:dgram'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { HostId } from '../../../../src/base/ids.ts'
import type { Address } from '../../../../src/cluster/underlay/core/index.ts'
import type { Hello, Packet } from '../../../../src/cluster/underlay/core/message.ts'
import { decodePacket, encodeHeader, encodeMessage, joinPacket } from '../../../../src/cluster/underlay/core/wire.ts'
import { at, RealCluster, until, using } from './real-cluster.ts'

const star = (ports: number[], i: number) => ({ seeds: i === 0 ? [] : [at(ports[0]!)] })

describe.concurrent('secrets', () => {
  test('rotate without downtime: no packet is refused, nobody lost', async () => {
    const options = (ports: number[], i: number) => ({ ...star(ports, i), secrets: ['old'] })
    await using(RealCluster.of(3, options), async (cluster) => {
      await cluster.start()
      await until(() => cluster.whole, 'one cluster')
      const newsArrive = async () => {
        for (const host of cluster.hosts) host.node.setMetadata(new Map([['at', `${performance.now()}`]]))
        const told = cluster.hosts.map(({ id, node }) => ({ id, incarnation: node.self.incarnation }))
        const all = () =>
          cluster.hosts.every(({ id: own, node }) =>
            told.every(({ id, incarnation }) => id === own || node.member(id)!.incarnation === incarnation),
          )
        await until(all, 'news arrive')
      }
      for (const secrets of [['old', 'new'], ['new', 'old'], ['new']]) {
        await cluster.hosts[0]!.node.setSecrets(secrets)
        await newsArrive()
        await Promise.all(cluster.hosts.slice(1).map((host) => host.node.setSecrets(secrets)))
        await newsArrive()
      }
      expect(cluster.whole).toBe(true)
      for (const host of cluster.hosts) {
        expect(host.heard('dead')).toEqual([])
        expect(host.metric('flockmq_cluster_packets_refused_total', { reason: 'undecryptable' })).toBe(0)
      }
    })
  })

  test.each([
    ['another secret', ['other'], 'undecryptable', 'with another cluster.secret'],
    ['no secret', [], 'plain', 'they are not encrypted'],
  ])('%s: refused, counted, said', async (_, secrets, reason, line) => {
    const options = (ports: number[], i: number) => ({ ...star(ports, i), secrets: i === 0 ? ['right'] : secrets })
    await using(RealCluster.of(2, options), async (cluster) => {
      await cluster.start()
      const [member, stranger] = cluster.hosts
      const refused = () => member!.metric('flockmq_cluster_packets_refused_total', { reason }) ?? 0
      await until(() => refused() > 2, 'packets are refused')
      expect(stranger!.node.cluster).toBeNull()
      expect(member!.node.members()).toEqual([])
      expect(member!.lines.filter((said) => said.includes(line))).toHaveLength(1)
    })
  })

  test('what was recorded and is played back is counted, and nothing else', async () => {
    const options = (ports: number[], i: number) => ({ ...star(ports, i), secrets: ['right'] })
    await using(RealCluster.of(2, options), async (cluster) => {
      await cluster.start()
      await until(() => cluster.whole, 'one cluster')
      const [first, second] = cluster.hosts
      const tap = createSocket('udp4')
      const recorded: Buffer[] = []
      tap.on('message', (bytes) => recorded.push(bytes))
      await new Promise<void>((resolve) => tap.bind(0, '127.0.0.1', resolve))
      // It asks there whether a seed is back.
      second!.options = { ...second!.options, seeds: [...second!.options.seeds!, at(tap.address().port)] }
      await second!.stop()
      await second!.start()
      await until(() => cluster.whole && recorded.length > 0, 'a packet is recorded')
      const replayed = () => first!.metric('flockmq_cluster_packets_refused_total', { reason: 'replayed' })
      expect(replayed()).toBe(0)
      for (let i = 0; i < 3; i++) tap.send(recorded[0]!, first!.options.port!, '127.0.0.1')
      await until(() => replayed() === 2, 'replays are counted')
      tap.close()
      expect(cluster.whole).toBe(true)
    })
  })

  test('cannot be set where there were none', async () => {
    await using(RealCluster.of(1), async (cluster) => {
      await cluster.start()
      await expect(cluster.hosts[0]!.node.setSecrets(['new'])).rejects.toThrow('while the node runs')
    })
  })
})

describe.concurrent('who is refused', () => {
  test('another cluster name: counted and said', async () => {
    const options = (ports: number[], i: number) => ({ ...star(ports, i), clusterName: `name-${i}` })
    await using(RealCluster.of(2, options), async (cluster) => {
      await cluster.start()
      const [member, stranger] = cluster.hosts
      const refused = () => member!.metric('flockmq_cluster_packets_refused_total', { reason: 'foreign-name' }) ?? 0
      await until(() => refused() > 1, 'packets are refused')
      expect(stranger!.node.cluster).toBeNull()
      expect(member!.lines.join('\n')).toContain('they are of a cluster with another cluster.name')
    })
  })

  test('the later host of one id stops, the first goes on', async () => {
    await using(RealCluster.of(3, star), async (cluster) => {
      const [first, second, copy] = cluster.hosts
      await first!.start()
      await second!.start()
      await until(() => first!.sees(second!) === 'alive', 'one cluster')
      copy!.id = second!.id
      await copy!.start()
      await until(() => copy!.fatal.length > 0, 'the copy stops')
      expect(copy!.fatal[0]!.message).toContain(`host id "h1" is in use at 127.0.0.1`)
      copy!.up = false
      expect(first!.sees(second!)).toBe('alive')
      expect(second!.fatal).toEqual([])
    })
  })

  test.each([
    [{ host: '0.0.0.0' }, 'is beyond loopback: set cluster.secret'],
    [{ host: '::' }, 'is beyond loopback'],
    [{ host: 'no.such.host.invalid' }, 'no such name'],
    [{ clusterName: 'two words' }, 'cluster.name "two words"'],
    [{ seeds: ['a:b:c'] }, 'cluster.seeds "a:b:c" must be host:port'],
    [{ advertise: '1.2.3.4:x' }, 'cluster.advertise "1.2.3.4:x"'],
    [{ advertise: '0.0.0.0' }, 'Cannot advertise "0.0.0.0"'],
    [{ secrets: [''] }, 'must not be empty'],
    [{ metadata: new Map([['zone', 'z'.repeat(505)]]) }, 'takes 513 of 512 bytes'],
    [{ secrets: Array.from('123456789') }, 'at most 8'],
  ])('%j does not start', async (options, message) => {
    await using(
      RealCluster.of(1, () => options),
      async (cluster) => {
        await expect(cluster.start()).rejects.toThrow(message)
      },
    )
  })

  test.each([
    [{ host: '0.0.0.0', secrets: ['s'] }],
    [{ host: '0.0.0.0', mutualTls: true }],
    [{ host: '::', insecure: true }],
  ])('%j starts, and finds an address that others reach', async (options) => {
    await using(
      RealCluster.of(1, () => options),
      async (cluster) => {
        await cluster.start()
        expect(cluster.hosts[0]!.node.self.address).toMatch(/:\d+$/)
        expect(cluster.hosts[0]!.node.self.address).not.toMatch(/^(0\.0\.0\.0|\[::\])/)
      },
    )
  })

  test('a port in use: says so', async () => {
    await using(
      RealCluster.of(2, (ports) => ({ port: ports[0]! })),
      async (cluster) => {
        await cluster.hosts[0]!.start()
        await expect(cluster.hosts[1]!.start()).rejects.toThrow('it is in use; choose another cluster.port')
      },
    )
  })
})

describe.concurrent('addresses', () => {
  test('IPv6 alone, and IPv4 and IPv6 in one cluster', async () => {
    await using(
      RealCluster.of(4, (ports, i) => {
        const host = ['::', '127.0.0.1', '::1', '::'][i]!
        const advertise = i === 3 ? '127.0.0.1' : i === 0 ? '::1' : null
        return {
          host,
          advertise,
          insecure: true,
          seeds: i === 0 ? [] : [i === 2 ? `[::1]:${ports[0]}` : at(ports[0]!)],
        }
      }),
      async (cluster) => {
        const [both, ip4, ip6, mapped] = cluster.hosts
        await cluster.start()
        await until(() => both!.sees(ip4!) === 'alive' && both!.sees(ip6!) === 'alive', 'both kinds')
        await until(() => mapped!.sees(ip4!) === 'alive' && mapped!.sees(ip6!) === 'alive', 'both kinds, again')
        expect(both!.node.member(ip4!.id)!.address).toMatch(/^127\.0\.0\.1:/)
        expect(both!.node.member(ip6!.id)!.address).toMatch(/^\[::1\]:/)
      },
    )
  })

  test('a seed gets its address late: it is found, and so is our own way to it', async () => {
    const known = new Map<string, string[]>()
    const resolve = async (name: string) => {
      const found = /^[\d.]+$/.test(name) ? [name] : known.get(name)
      if (found === undefined) throw new Error('ENOTFOUND')
      return found
    }
    await using(
      RealCluster.of(2, (ports, i) => {
        if (i === 0) return { host: '127.0.0.1' }
        return { host: '0.0.0.0', insecure: true, seeds: ['other', `flock:${ports[0]}`], resolve }
      }),
      async (cluster) => {
        const [seed, late] = cluster.hosts
        await cluster.start()
        await until(() => (late!.metric('flockmq_cluster_refused_total', { what: 'lookup' }) ?? 0) > 0, 'no such name')
        expect(late!.node.cluster).toBeNull()
        known.set('flock', ['127.0.0.7', '127.0.0.1'])
        await until(() => seed!.sees(late!) === 'alive', 'it is found')
        await until(() => seed!.node.member(late!.id)!.address.startsWith('127.0.0.'), 'it is reached')
      },
    )
  })

  test('a given address is told as it is', async () => {
    await using(
      RealCluster.of(1, () => ({ host: '0.0.0.0', secrets: ['s'], advertise: '10.1.2.3:4567' })),
      async (cluster) => {
        await cluster.start()
        expect(cluster.hosts[0]!.node.self.address).toBe('10.1.2.3:4567')
      },
    )
  })

  test('a host follows when it listens elsewhere', async () => {
    await using(RealCluster.of(3, star), async (cluster) => {
      await cluster.start()
      await until(() => cluster.whole, 'one cluster')
      const [first, , moved] = cluster.hosts
      await moved!.stop()
      moved!.options = { ...moved!.options, port: 0 }
      await moved!.start()
      const { address } = moved!.node.self
      await until(() => first!.node.member(moved!.id)!.address === address && cluster.whole, 'the others follow')
    })
  })
})

describe.concurrent('life', () => {
  test('a pause is known at once; forever is forever', async () => {
    await using(RealCluster.of(3, star), async (cluster) => {
      await cluster.start()
      await until(() => cluster.whole, 'one cluster')
      const [first, second, third] = cluster.hosts
      await second!.stop('pause')
      await until(() => first!.sees(second!) === 'dead', 'it is known')
      expect(first!.lines.at(-1)).toContain('pauses: it is expected back')
      const pausedMs = first!.node.stateAgeMs(second!.id)!
      expect(pausedMs).toBeLessThan(first!.node.stateAgeMs(third!.id)!)
      expect(first!.node.stateAgeMs('nobody' as HostId)).toBeNull()
      await third!.stop('leave')
      expect(first!.node.stateAgeMs(second!.id)).toBeGreaterThan(pausedMs)
      await until(() => first!.sees(third!) === 'left', 'it is known')
      await expect(third!.start()).rejects.toThrow('left cluster "test" for ever')
      await second!.start()
      await until(() => first!.sees(second!) === 'alive', 'it is back')
    })
  })

  test('payloads of all sizes arrive, plain and sealed, and where nobody is they are counted', async () => {
    for (const secrets of [[], ['s']]) {
      await using(
        RealCluster.of(2, (ports, i) => ({ ...star(ports, i), secrets })),
        async (cluster) => {
          await cluster.start()
          await until(() => cluster.whole, 'one cluster')
          const [a, b] = cluster.hosts
          // Also those that just fill a datagram before it is sealed.
          const sizes = [0, 1, 1_150, 1_290, 1_310, 1_330, 1_400, 65_535]
          for (const size of sizes) a!.node.sendPayload(b!.id, new Uint8Array(size).fill(size % 251))
          await until(() => b!.payloads.length === sizes.length, 'all are there')
          const got = b!.payloads.toSorted((x, y) => x.bytes.length - y.bytes.length)
          expect(got.map(({ bytes }) => bytes.length)).toEqual(sizes)
          expect(
            got.every(({ from, bytes }) => from === a!.id && bytes.every((byte) => byte === bytes.length % 251)),
          ).toBe(true)
          await b!.stop()
          await until(() => a!.sees(b!) === 'dead', 'it pauses')
          a!.node.sendPayload(b!.id, new Uint8Array(1))
          expect(a!.metric('flockmq_cluster_refused_total', { what: 'payload' })).toBe(1)
        },
      )
    }
  })

  test('listeners hear of changes, and may ask for more', async () => {
    await using(RealCluster.of(2, star), async (cluster) => {
      const [first] = cluster.hosts
      const heard: string[] = []
      let end = () => {}
      first!.before = (node) => {
        end = node.on((notice) => {
          // The machine may be busy.
          if (notice.type !== 'stalled') heard.push(notice.type)
          if (notice.type === 'joined') node.sendPayload(notice.host.id, new Uint8Array([7]))
        })
      }
      await cluster.start()
      await until(() => cluster.hosts[1]!.payloads.length > 0, 'the answer to the notice')
      end()
      expect(heard).toEqual(['formed', 'joined'])
      expect(first!.metric('flockmq_cluster_hosts', { state: 'alive' })).toBe(2)
      expect(
        first!.metric('flockmq_cluster_gossip_bytes_total', { transport: 'udp', direction: 'sent' }),
      ).toBeGreaterThan(0)
      expect(first!.metric('flockmq_cluster_member')).toBe(1)
    })
  })
})

test('what a listener causes is told when all heard of its cause', async () => {
  await using(RealCluster.of(1), async ({ hosts: [host] }) => {
    let stopping: Promise<void> | null = null
    host!.before = (node) =>
      node.on(({ type }) => {
        if (type === 'formed') stopping = node.stop()
      })
    await host!.start()
    await stopping
    const types = host!.notices.map(({ type }) => type).filter((type) => type !== 'stalled')
    expect(types).toEqual(['formed', 'departed'])
  })
})

describe.concurrent('disk', () => {
  test('the incarnation rises with each start, and is written before', async () => {
    await using(RealCluster.of(1), async (cluster) => {
      const [host] = cluster.hosts
      for (let start = 1; start <= 3; start++) {
        await host!.start()
        const saved = JSON.parse(readFileSync(host!.statePath, 'utf8'))
        expect([saved.incarnation, host!.node.self.incarnation]).toEqual([start, start])
        expect(saved.cluster.id).toBe(host!.node.cluster!.id)
        await host!.stop()
      }
    })
  })

  test('a folder of another cluster, or one that is damaged, does not start', async () => {
    await using(RealCluster.of(1), async (cluster) => {
      const [host] = cluster.hosts
      await host!.start()
      await host!.stop()
      host!.options = { ...host!.options, clusterName: 'another' }
      await expect(host!.start()).rejects.toThrow('belongs to cluster "test", and cluster.name is "another"')
      writeFileSync(host!.statePath, '{"format": 1, "clu')
      await expect(host!.start()).rejects.toThrow('it is damaged or of a newer version')
    })
  })

  test('a founder that cannot write its cluster down tells nobody of it, and ends', async () => {
    const stranger = await listen()
    await using(
      RealCluster.of(1, (ports) => ({ seeds: ports.map(at) })),
      async ({ hosts: [founder] }) => {
        await founder!.start()
        rmSync(dirname(founder!.statePath), { recursive: true, force: true })
        // Whoever is seen is told first that there is a cluster now.
        const hello = helloOf(stranger.address)
        await until(() => {
          stranger.socket.send(hello, founder!.options.port!, '127.0.0.1')
          return founder!.fatal.length > 0
        }, 'the founder ends')
        founder!.up = false
        expect(founder!.fatal[0]!.message).toContain('Cannot write')
        await stranger.settled()
        expect(stranger.heard.length).toBeGreaterThan(0)
        expect(stranger.heard.map(({ clusterId }) => clusterId)).toEqual(stranger.heard.map(() => ''))
      },
    )
    stranger.socket.close()
  })

  test('who was in no cluster yet may be given another name', async () => {
    await using(
      RealCluster.of(1, () => ({ seeds: ['127.0.0.1:1'] })),
      async ({ hosts: [host] }) => {
        await host!.start()
        await host!.stop()
        host!.options = { ...host!.options, clusterName: 'another' }
        await host!.start()
        expect(host!.node.cluster).toBeNull()
      },
    )
  })
})

/** A socket that keeps the packets it hears. */
async function listen() {
  const socket = createSocket('udp4')
  const heard: Packet[] = []
  let echoed = false
  socket.on('message', (bytes) => {
    const packet = decodePacket(bytes, 1_400)
    if (typeof packet === 'string') echoed = true
    else heard.push(packet)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const { port } = socket.address()
  /** Until all that was sent to it before was heard: its own packet comes behind. */
  const settled = () => {
    socket.send('not a packet', port, '127.0.0.1')
    return until(() => echoed, 'its own packet')
  }
  return { socket, address: at(port) as Address, heard, settled }
}

/** Of a host without a cluster. */
function helloOf(address: Address): Uint8Array {
  const header = encodeHeader({ clusterName: 'test', clusterId: '', sender: 'stranger' as HostId, life: 5 })
  const hello: Hello = {
    ...{ type: 'hello', address, seq: 1, echo: 0, supports: '', expect: 0, sees: 1, digest: 0, formedAtMs: 0 },
    ...{ fresh: false, asks: true, known: [] },
  }
  return joinPacket(header, [encodeMessage(hello)])
}
