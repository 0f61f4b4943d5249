import { calledWith } from '../app/called-with.js'
import type { AppCore } from '../app/core.js'
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
    ...(safe ? { args: head.argsrepr ?? '', kwargs: head.kwargsrepr ?? '' } : argumentsOf(core, task)),
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

/** Never null, which Python would not show. */
function argumentsOf(core: AppCore, task: ActiveTask): { readonly args: unknown; readonly kwargs: unknown } {
  const { args, kwargs } = calledWith(core, task)
  return { args: args ?? '', kwargs: kwargs ?? '' }
}
