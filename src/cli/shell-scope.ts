/** The names that `celeriac shell` has: the app, its tasks, and what workflows and schedules are made of. */
import { createRequire } from 'node:module'
import { importModule } from '../app/import-module.js'
import { taskObject } from '../app/task-object.js'
import type { CommandContext } from './with-app.js'

const composing = ['chain', 'group', 'chord', 'crontab', 'every', 'at', 'solar'] as const

export async function shellScope(
  { app, core, file }: CommandContext,
  { withTasks }: { readonly withTasks: boolean },
): Promise<Readonly<Record<string, unknown>>> {
  const scope: Record<string, unknown> = {}
  const face = await faceFor(file)
  for (const name of composing) scope[name] = face[name]
  const tasks: Record<string, unknown> = {}
  // The app's own class: it may be of another copy of celeriac.
  const { sender } = (app.constructor as typeof import('../app/app.js').Celeriac).internals(app)
  for (const name of app.taskNames) {
    const definition = core.registry.need(name)
    const shape = definition.kwargsSchema === undefined ? 'positional' : 'object'
    tasks[name] = taskObject({ name, sender, definition, shape, options: {} })
  }
  if (withTasks) {
    for (const [name, task] of Object.entries(tasks)) {
      const short = name.split('.').at(-1) ?? name
      if (/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(short) && !Object.hasOwn(scope, short)) scope[short] = task
    }
    // What the file calls them stands over the ends of their names.
    for (const [name, value] of Object.entries(await importModule(file))) if (name !== 'default') scope[name] = value
  }
  return {
    ...scope,
    app,
    tasks,
    control: app.control,
    schedule: app.schedule,
    result: (id: string) => app.result(id),
  }
}

/** Of the copy of celeriac that the app is of, so that what is made here is known there; of this one where the app's file does not tell. */
async function faceFor(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await importModule(createRequire(file).resolve('celeriac'))
  } catch {
    const [compose, crontabs, intervals, times, suns] = await Promise.all([
      import('../canvas/compose.js'),
      import('../beat/crontab.js'),
      import('../beat/interval.js'),
      import('../beat/at.js'),
      import('../beat/solar.js'),
    ])
    return { ...compose, ...crontabs, ...intervals, ...times, ...suns }
  }
}
