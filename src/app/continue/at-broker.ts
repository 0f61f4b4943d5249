import type { ResultBackend } from '../../backend.js'
import { resentHeader } from '../../protocol/task-headers.js'
import type { Connection } from '../../transport.js'
import type { AppCore } from '../core.js'
import type { Prepared } from '../message-writer.js'
import type { Sender } from '../sender.js'
import { Continuer } from './continuer.js'

interface BrokerParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly backend: ResultBackend
  readonly connection: Connection
  /** Whether whoever continues has a message of that task in its hands. */
  readonly isHeld: (taskId: string) => boolean
}

/** A continuer that publishes at the broker: what may have been published before only where nobody knows of it. */
export function continuerAt({ core, sender, backend, connection, isHeld }: BrokerParts): Continuer {
  return new Continuer({
    core,
    backend,
    prepare: (call) => sender.writer.writePlanned(call),
    chordText: (body) => sender.writer.chordText(body),
    publish: (prepared, { again }) => sender.publish(again ? resent(prepared) : prepared),
    known: async (taskIds) => {
      // A dead worker's messages mostly come to one and the same other, and not every broker can be asked where a message is.
      const known = new Set(taskIds.filter(isHeld))
      const others = taskIds.filter((id) => !known.has(id))
      // The broker first: a task that ends between the two questions has its result by the second.
      const places = await Promise.all(others.map((id) => connection.locate(id)))
      for (const [index, id] of others.entries()) if (places[index] === 'waiting' || places[index] === 'leased') known.add(id)
      if (!backend.supports.results) return known
      for (const id of (await backend.getMany(others.filter((id) => !known.has(id)))).keys()) known.add(id)
      return known
    },
  })
}

/** Where the broker cannot say whether it has the message already, whoever gets it looks at its result first. */
function resent(prepared: Prepared): Prepared {
  const { message } = prepared
  return { ...prepared, message: { ...message, headers: { ...message.headers, [resentHeader]: true } } }
}
