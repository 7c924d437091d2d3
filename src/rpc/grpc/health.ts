import {
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'

type Status = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

interface Request {
  service: string
}

interface Response {
  status: Status
}

type Watch = ServerWritableStream<Request, Response>

/** The standard health service, for the process (service name empty) and for what it serves by gRPC. */
export class HealthService {
  readonly #services: readonly string[]
  /** Who watches, and what was said last. */
  readonly #watches = new Map<Watch, Status>()
  readonly #watchesMax: number
  #serving = false

  constructor(services: readonly string[], watchesMax = 64) {
    this.#services = ['', ...services]
    this.#watchesMax = watchesMax
  }

  readonly methods: UntypedServiceImplementation = {
    Check: (call: ServerUnaryCall<Request, Response>, answer: sendUnaryData<Response>) => {
      const found = this.#statusOf(call.request)
      if (found !== 'SERVICE_UNKNOWN') answer(null, { status: found })
      else answer({ code: status.NOT_FOUND, details: 'The service is not known here' })
    },
    Watch: (call: Watch) => {
      if (this.#watches.size >= this.#watchesMax) {
        call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'Too many watch already' })
        return
      }
      const found = this.#statusOf(call.request)
      call.write({ status: found })
      if (found === 'SERVICE_UNKNOWN') return
      this.#watches.set(call, found)
      call.on('close', () => this.#watches.delete(call))
    },
  }

  set serving(serving: boolean) {
    this.#serving = serving
    const now = serving ? 'SERVING' : 'NOT_SERVING'
    for (const [call, last] of this.#watches) {
      if (last === now) continue
      this.#watches.set(call, now)
      call.write({ status: now })
    }
  }

  #statusOf({ service }: Request): Status {
    if (!this.#services.includes(service)) return 'SERVICE_UNKNOWN'
    return this.#serving ? 'SERVING' : 'NOT_SERVING'
  }
}
