/** What stands between a call and the broker: telemetry, then the `publish` middleware. */
import { NotPublishedError } from '../errors.js'
import { runningTask } from './context.js'
import type { AppCore } from './core.js'
import type { Middleware } from './hooks.js'
import type { SentCall } from './instrument.js'
import type { OutgoingCall } from './outgoing-call.js'
import type { Routed } from './routes.js'

type Send<T> = (call: OutgoingCall) => Promise<T>

/** Sends the call as the layers leave it. Where there are none, nothing is paid for them. Rejects with NotPublishedError when a middleware keeps the call. */
export function throughLayers<T>(core: AppCore, call: OutgoingCall, id: string, send: Send<T>): Promise<T> {
  const { hooks, telemetry } = core
  const opening = telemetry()
  if (opening === undefined && !hooks.publishes && hooks.instrument?.isActive !== true) return send(call)
  return passedOn(core, call, id, send, opening)
}

async function passedOn<T>(core: AppCore, call: OutgoingCall, id: string, send: Send<T>, opening: Promise<void> | undefined): Promise<T> {
  const { hooks } = core
  if (opening !== undefined) await opening
  const instrument = hooks.instrument?.isActive === true ? hooks.instrument : undefined
  if (!hooks.publishes && instrument === undefined) return send(call)
  const given = { task: call.task, args: [...call.args], kwargs: { ...call.kwargs }, headers: { ...call.options.headers } }
  if (instrument === undefined) return throughMiddleware(core, call, given, send)
  const sent: SentCall = {
    task: call.task,
    id,
    rootId: call.rootId ?? runningTask()?.context.request.rootId ?? id,
    groupId: call.groupId,
    headers: given.headers,
    destination: undefined,
  }
  const routed = ({ queue, to }: Routed): void => {
    sent.destination = queue ?? to.routingKey
  }
  return instrument.publish(sent, () => throughMiddleware(core, { ...call, routed }, given, send))
}

async function throughMiddleware<T>(
  { hooks }: AppCore,
  call: OutgoingCall,
  given: Parameters<NonNullable<Middleware['publish']>>[0],
  send: Send<T>,
): Promise<T> {
  let sent: { readonly value: T } | undefined
  await hooks.publish(given, async () => {
    const { args, kwargs, headers } = given
    sent = { value: await send({ ...call, args, kwargs, options: { ...call.options, headers } }) }
  })
  if (sent === undefined)
    throw new NotPublishedError(`a publish middleware did not pass the call of ${call.task} on: it must call next() or throw`)
  return sent.value
}
