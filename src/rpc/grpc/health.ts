import { FieldReader, FieldWriter, LENGTH } from '../link/core/protobuf.ts'
import { type Method, type Methods, type ServiceCall, STATUS, unary } from './service.ts'

const SERVING = 1
const NOT_SERVING = 2
const SERVICE_UNKNOWN = 3

/** The standard health service, for the process (service name empty) and for what it serves by gRPC. */
export class HealthService {
  readonly #services: readonly string[]
  readonly #watchers = new Map<ServiceCall, number>()
  readonly #watchersMax: number
  #serving = false

  constructor(services: readonly string[], watchersMax = 64) {
    this.#services = ['', ...services]
    this.#watchersMax = watchersMax
  }

  set serving(serving: boolean) {
    this.#serving = serving
    for (const [call, last] of this.#watchers) this.#tell(call, last)
  }

  methods(): Methods {
    return new Map([
      ['/grpc.health.v1.Health/Check', unary((request) => this.#check(request))],
      ['/grpc.health.v1.Health/Watch', this.#watch()],
    ])
  }

  #check(request: Buffer) {
    const status = this.#statusOf(request)
    if (status !== SERVICE_UNKNOWN) return response(status)
    return { status: STATUS.notFound, message: 'The service is not known here' }
  }

  #watch(): Method {
    return {
      message: (request, call) => {
        const status = this.#statusOf(request)
        if (this.#watchers.size >= this.#watchersMax) {
          call.end(STATUS.resourceExhausted, 'Too many watch already')
          return
        }
        call.write(response(status))
        if (status !== SERVICE_UNKNOWN) this.#watchers.set(call, status)
      },
      ended() {},
      closed: (call) => void this.#watchers.delete(call),
    }
  }

  #tell(call: ServiceCall, last: number): void {
    const status = this.#serving ? SERVING : NOT_SERVING
    if (status === last) return
    this.#watchers.set(call, status)
    call.write(response(status))
  }

  #statusOf(request: Buffer): number {
    let service = ''
    const reader = new FieldReader(request)
    while (reader.next()) if (reader.field === 1 && reader.wireType === LENGTH) service = reader.bytes.toString()
    if (!this.#services.includes(service)) return SERVICE_UNKNOWN
    return this.#serving ? SERVING : NOT_SERVING
  }
}

function response(status: number): Buffer {
  return new FieldWriter().varint(1, status).finish()
}
