import { randomName } from '../../base/clock.ts'
import type { BrokerError } from '../../base/errors.ts'
import { RoutedClient } from '../client/routed-client.ts'
import type { RangeTransport } from '../client/transport.ts'
import type { Coprocessor } from '../range/coprocessor.ts'
import type { ServeOptions, StoreOptions } from './options.ts'

/** A client beside a store. `lacking`: why this store takes nothing that needs space; null while it does. */
export function makeClient<Command, Response, Query, Answer, Effect>(
  { engine, storeId, clock, random, log }: StoreOptions,
  coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
  transport: RangeTransport<Command, Response, Query, Answer>,
  options: ServeOptions<Command>,
  lacking: () => BrokerError | null,
): RoutedClient<Command, Response, Query, Answer> {
  const grows = (command: Command) => coprocessor.grows?.(command) ?? true
  return new RoutedClient<Command, Response, Query, Answer>({
    ...{ service: coprocessor.service, transport, clock, random, log },
    // Neither a clock that was set back nor a generator that begins again may name two clients alike.
    incarnation: `${storeId}/${engine.durable()}-${clock.now()}-${randomName(random, 10)}`,
    commandBytes: options.commandBytes,
    grows,
    refuses: (command) => (grows(command) ? lacking() : null),
    limits: options.clientLimits ?? {},
  })
}
