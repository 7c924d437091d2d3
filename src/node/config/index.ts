import { readFileSync } from 'node:fs'
import { LineCounter, parseDocument } from 'yaml'
import { BrokerError } from '../../base/errors.ts'
import type { Path } from './keys.ts'
import { Layers, type Source } from './layers.ts'
import { checkRules } from './rules.ts'
import { type Config, type ListenerConfig, ROOT } from './schema.ts'

export { exampleFile } from './example.ts'
export { jsonSchema } from './json-schema.ts'
export { printConfig } from './print.ts'
export type { Config, ListenerConfig } from './schema.ts'
export type { Source }

/** What a configuration is made of. */
export interface ConfigRequest {
  /** Path of a YAML file; null = none. */
  file: string | null
  /** `a.b=c`, later ones win. */
  settings: readonly string[]
  environment: Readonly<Record<string, string | undefined>>
  machine: Machine
}

/** What defaults depend on. */
export interface Machine {
  hostName: string
  memoryBytes: number
}

export interface LoadedConfig {
  config: Config
  /** Source of every value, by its dotted key. */
  origins: Map<string, Source>
}

const PREFIX = 'FLOCKMQ_'
/** The environment's name for `--config`; no key of the configuration. */
export const CONFIG_FILE_VARIABLE = 'FLOCKMQ_CONFIG'

/**
 * The configuration from defaults, file, environment and `--set`, in rising precedence.
 * Throws `CONFIG_INVALID` whose message has one line for every mistake.
 */
export function loadConfig(request: ConfigRequest): LoadedConfig {
  const layers = new Layers(ROOT)
  if (request.file !== null) addFile(layers, request.file)
  addEnvironment(layers, request.environment)
  for (const text of request.settings) layers.addSetting(text)
  const origins = new Map<string, Source>()
  const config = complete(layers.build(origins) as unknown as Config, request.machine)
  // Rules over values that are wrong already would only tell the same mistake twice.
  const problems = layers.problems.length > 0 ? layers.problems : checkRules(config)
  if (problems.length > 0) throw new BrokerError('CONFIG_INVALID', problems.join('\n'))
  return { config, origins }
}

function addFile(layers: Layers, file: string): void {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(error)
    layers.problems.push(`Cannot read the configuration file "${file}": ${reason}`)
    return
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  for (const error of document.errors) {
    layers.problems.push(`${file}:${lines.linePos(error.pos[0]).line}: not valid YAML: ${error.message}`)
  }
  if (document.errors.length > 0) return
  const where = (path: Path) => {
    const node = document.getIn(path, true) as { range?: [number, number, number] } | undefined
    return node?.range ? `${file}:${lines.linePos(node.range[0]).line}` : file
  }
  try {
    layers.addFile(document.toJS(), where)
  } catch (error) {
    // Aliases that grow without bound are found only here.
    layers.problems.push(`${file}: not valid YAML: ${(error as Error).message}`)
  }
}

function addEnvironment(layers: Layers, environment: Readonly<Record<string, string | undefined>>): void {
  for (const [name, text] of Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (text === undefined || !name.startsWith(PREFIX) || name === CONFIG_FILE_VARIABLE) continue
    if (isServiceLink(name, text)) continue
    layers.addVariable(name.slice(PREFIX.length), text, PREFIX)
  }
}

/**
 * Kubernetes puts a variable for every service of the namespace into each pod: beside a service `flockmq-api` stands
 * `FLOCKMQ_API_PORT=tcp://10.0.0.1:8091`, which is not meant for us.
 */
function isServiceLink(name: string, text: string): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$/.test(name)) return true
  return (
    /_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/.test(name) &&
    (/_PORT_\d+_/.test(name) || /^\w+:\/\//.test(text))
  )
}

/** A container may be smaller than what an empty broker takes: it gets this, and the kernel's verdict. */
const PROCESS_BYTES_MIN = 256 * 1024 * 1024
const HELD_BYTES_MIN = 64 * 1024 * 1024
const DEFAULT_PORTS: Record<ListenerConfig['type'], number> = { tcp: 1883, tls: 8883, ws: 8083, wss: 8084, unix: 0 }

/** Fills in what the default of an option depends on. */
function complete(config: Config, machine: Machine): Config {
  config.node.name ??= [...machine.hostName].slice(0, 64).join('')
  config.rpc.host ??= config.cluster.host
  config.mqtt.limits.processBytesMax ??= Math.max(PROCESS_BYTES_MIN, Math.floor(machine.memoryBytes * 0.75))
  config.mqtt.limits.heldBytesMax ??= Math.max(HELD_BYTES_MIN, Math.floor(machine.memoryBytes * 0.25))
  for (const listener of Object.values(config.mqtt.listeners)) {
    listener.port ??= DEFAULT_PORTS[listener.type]
    if (listener.type === 'ws' || listener.type === 'wss') listener.path ??= '/mqtt'
  }
  return config
}
