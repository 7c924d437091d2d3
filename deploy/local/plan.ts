/** A cluster on one machine, before anything is started: names, ports, folders and command lines of its nodes. */
import { join } from 'node:path'

export interface Asked {
  nodes: number
  /** Port for MQTT of the first node; all other ports are moved by as much as this one. */
  basePort: number
  /** One folder below it for each node. */
  data: string
  /** As `flockmq start --set` takes them, for all nodes. */
  settings: readonly string[]
}

export interface NodePlan {
  name: string
  mqtt: number
  ws: number
  api: number
  data: string
  /** Of the command line `flockmq`. */
  args: readonly string[]
}

/** As the configuration has them. */
export const MQTT_PORT = 1883
const FIRST = { ws: 8083, api: 8091, gossip: 7946, rpc: 7947 }
/** The ninth node's WebSocket port would be the first one's HTTP port. */
export const NODES_MAX = FIRST.api - FIRST.ws
const PORT_MAX = 65_535
export const BASE_PORT_MAX = PORT_MAX - (FIRST.api + NODES_MAX - 1 - MQTT_PORT)

/** The first node founds the cluster, the others ask it. */
export function planNodes({ nodes, basePort, data, settings }: Asked): NodePlan[] {
  const moved = basePort - MQTT_PORT
  const seed = ['--seed', `127.0.0.1:${FIRST.gossip + moved}`]
  return Array.from({ length: nodes }, (_, i) => {
    const name = `n${i + 1}`
    const ports = { mqtt: basePort + i, ws: FIRST.ws + moved + i, api: FIRST.api + moved + i }
    const own = [
      `node.name=${name}`,
      `mqtt.listeners.tcp.port=${ports.mqtt}`,
      `mqtt.listeners.ws.port=${ports.ws}`,
      `api.port=${ports.api}`,
      `cluster.port=${FIRST.gossip + moved + 2 * i}`,
      `rpc.port=${FIRST.rpc + moved + 2 * i}`,
    ]
    const folder = join(data, name)
    const sets = [...own, ...settings].flatMap((setting) => ['--set', setting])
    return { name, ...ports, data: folder, args: ['start', '--data', folder, ...(i === 0 ? [] : seed), ...sets] }
  })
}

/** Every port that the nodes listen on. */
export function portsOf(basePort: number, nodes: number): number[] {
  const moved = basePort - MQTT_PORT
  return Array.from({ length: nodes }, (_, i) => [
    ...[basePort + i, FIRST.ws + moved + i, FIRST.api + moved + i],
    ...[FIRST.gossip + moved + 2 * i, FIRST.rpc + moved + 2 * i],
  ]).flat()
}

/** What a user can do with a cluster that is ready. */
export function howToConnect(nodes: readonly NodePlan[]): string[] {
  const first = nodes[0]!
  const last = nodes.at(-1)!
  return [
    ...nodes.map(({ name, mqtt, ws, api }) => {
      return `${name}: MQTT 127.0.0.1:${mqtt}, WebSocket ws://127.0.0.1:${ws}/mqtt, HTTP http://127.0.0.1:${api}`
    }),
    'Try it:',
    `  mosquitto_sub -p ${last.mqtt} -t 'hello/#' &`,
    `  mosquitto_pub -p ${first.mqtt} -t hello/world -m 'good morning'`,
    `  npx flockmq members --data ${first.data}`,
  ]
}
