import type { Message } from '../protocol/message.js'
import { decodeBody } from '../protocol/task-body.js'
import type { TaskHead } from '../protocol/task-head.js'
import { encodeJson } from '../serializers/json.js'
import type { AppCore } from './core.js'

/**
 * What a task was called with, for those who look at it: `resultExtended`, `inspect`. The values; where they cannot be read, or not be written as JSON (Python's NaN),
 * the texts that its sender made for eyes. Every accepted serializer must be loaded, as it is in a worker.
 */
export function calledWith(
  core: AppCore,
  { message, head }: { readonly message: Message; readonly head: TaskHead },
): { readonly args: unknown; readonly kwargs: unknown } {
  try {
    const { args, kwargs } = decodeBody(
      core.serializers.decode({ ...message, compression: head.compression }, { accept: core.config.acceptContent }),
    )
    encodeJson([args, kwargs], 'arguments')
    return { args, kwargs }
  } catch {
    // Nobody can read them; the run will say so.
    return { args: head.argsrepr, kwargs: head.kwargsrepr }
  }
}
