/** `celeriac/client`: a producer only, with no worker code – for a web server or a serverless function. */
import { Celeriac } from './app/app.js'
import type { RemoteTask } from './app/remotes.js'
import { NotSupportedError, OptionInvalidError } from './errors.js'
import type { Address } from './internal/address.js'
import { checkNames } from './internal/known-names.js'

export type { RemoteTask, TasksOf } from './app/remotes.js'

/** `broker` and `backend` are those of an app's options. */
export type ClientOptions = { broker: Address; backend?: Address } | { gateway: string; token: string; fetch?: typeof fetch }

/**
 * Sends tasks whose code lives elsewhere: `createClient<TasksOf<typeof import('./tasks.js')>>({ broker })` imports types only.
 *
 * @example
 * const { tasks } = createClient<TasksOf<typeof import('./tasks.js')>>({ broker: 'sqlite://' })
 * await tasks['mail.send'].delay({ to: 'a@b.c' })
 */
export function createClient<T>(options: ClientOptions): AsyncDisposable & { readonly tasks: { [K in keyof T]: RemoteTask<T[K]> } } {
  if ('gateway' in options)
    throw new NotSupportedError('a client of the HTTP gateway', 'this version has no gateway; give { broker } instead')
  checkNames(options, { broker: true, backend: true })
  if (options.broker === undefined) throw new OptionInvalidError('broker', 'the URL of a broker', undefined)
  const app = new Celeriac(
    'client',
    options.backend === undefined ? { broker: options.broker } : { broker: options.broker, backend: options.backend },
  )
  return { tasks: app.remotes<T>(), [Symbol.asyncDispose]: () => app.close() }
}
