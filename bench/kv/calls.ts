import type { ChildProcess } from 'node:child_process'

/** What one side may ask of the other: a name, one argument, one answer. */
export type Handlers = { [name: string]: (argument: never) => unknown }

/** The promise of what a handler gives. */
type AnswerOf<Handler> = Handler extends (...given: never[]) => infer Answer ? Awaited<Answer> : never
type ArgumentOf<Handler> = Handler extends (argument: infer Argument) => unknown ? Argument : never

interface Request {
  id: number
  call: string
  argument: unknown
}

interface Reply {
  id: number
  value?: unknown
  error?: string
}

/** In a child process: answers what the parent asks. */
export function answerCalls(handlers: Handlers): void {
  process.on('message', ({ id, call, argument }: Request) => {
    const answer = async () => (handlers[call] as (argument: unknown) => unknown)(argument)
    answer().then(
      (value) => process.send?.({ id, value } satisfies Reply),
      (error: Error) => process.send?.({ id, error: `${call}: ${error.stack}` } satisfies Reply),
    )
  })
  // A child never outlives its parent.
  process.on('disconnect', () => process.exit(0))
}

/** In the parent: asks a child. What is under way when it ends fails. */
export class Caller<Known extends Handlers> {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #ids = 0

  constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', ({ id, value, error }: Reply) => {
      const pending = this.#pending.get(id)
      this.#pending.delete(id)
      if (error === undefined) pending?.resolve(value as never)
      else pending?.reject(new Error(error))
    })
    child.on('exit', (code, signal) => {
      const error = new Error(`A process of the fleet has ended: ${signal ?? code}`)
      for (const { reject } of this.#pending.values()) reject(error)
      this.#pending.clear()
    })
  }

  call<Name extends keyof Known & string>(
    name: Name,
    argument: ArgumentOf<Known[Name]>,
  ): Promise<AnswerOf<Known[Name]>> {
    const id = ++this.#ids
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#child.send({ id, call: name, argument } satisfies Request, (error) => {
        if (error === null || !this.#pending.delete(id)) return
        reject(error)
      })
    })
  }
}
