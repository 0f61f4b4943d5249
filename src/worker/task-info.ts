import type { AppCore } from '../app/core.js'
import { decodeBody } from '../protocol/task-body.js'
import { encodeJson } from '../serializers/json.js'
import type { ActiveTask } from './active-task.js'

/** A task as `inspect active` and its like show it (celery/worker/request.py info). `safe`: arguments as the texts that its sender made for eyes. */
export async function taskInfo(
  core: AppCore,
  hostname: string,
  task: ActiveTask,
  { safe }: { readonly safe: boolean },
): Promise<Readonly<Record<string, unknown>>> {
  const { head, delivery, run, acksLate } = task
  const start = run?.start
  return {
    id: head.id,
    name: head.shadow ?? head.task,
    ...(safe ? { args: head.argsrepr ?? '', kwargs: head.kwargsrepr ?? '' } : await argumentsOf(core, task)),
    type: head.task,
    hostname,
    time_start: start === undefined ? null : (core.clock.now() - (core.clock.monotonic() - start.sinceMs)) / 1000,
    acknowledged: start !== undefined && !acksLate,
    delivery_info: {
      exchange: delivery.exchange,
      routing_key: delivery.routingKey,
      priority: task.message.properties.priority ?? 0,
      redelivered: delivery.redelivered,
    },
    worker_pid: start?.pid ?? null,
  }
}

async function argumentsOf(core: AppCore, { message, head }: ActiveTask): Promise<{ readonly args: unknown; readonly kwargs: unknown }> {
  try {
    const { args, kwargs } = decodeBody(
      await core.serializers.decode({ ...message, compression: head.compression }, { accept: core.config.acceptContent }),
    )
    // Python's NaN can be read, and not answered.
    encodeJson([args, kwargs], 'arguments')
    return { args, kwargs }
  } catch {
    // Nobody can read them; the run will say so.
    return { args: head.argsrepr ?? '', kwargs: head.kwargsrepr ?? '' }
  }
}
