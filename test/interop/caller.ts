/** One way to call and to look, whichever language the client is written in: what a test says holds for both. */
import { type ApplyOptions, Celeriac, TaskFailure, TaskRevokedError } from '../../dist/index.js'
import type { ResultTuple } from '../../dist/protocol/result.js'
import { decodeJson, encodeJson } from '../../dist/serializers/json.js'
import type { CanvasData } from './canvas.js'
import { canvasOf } from './node/canvas-of.mjs'
import type { PythonClient } from './python-process.js'

export interface Link {
  readonly task: string
  readonly args?: readonly unknown[]
  readonly options?: { readonly queue?: string; readonly priority?: number; readonly task_id?: string }
  readonly immutable?: boolean
}

export type Options = Omit<ApplyOptions, 'link' | 'linkError'> & { readonly link?: readonly Link[]; readonly linkError?: readonly Link[] }

/** What an `except` or `catch` sees. */
export interface SeenError {
  readonly type: string
  readonly module: string | null
  readonly args: readonly unknown[]
  readonly message: string
  readonly traceback: string | null
  /** Python only: the names of the classes that it is an instance of. */
  readonly is?: readonly string[]
}

export type End = { readonly value: unknown; readonly error?: undefined } | { readonly error: SeenError; readonly value?: undefined }

/** What is stored now. */
export interface Look {
  readonly state: string
  readonly info: unknown
  readonly children: readonly string[]
}

export interface Caller {
  readonly language: 'python' | 'node'
  call(task: string, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, options: Options): Promise<string>
  end(id: string, ms?: number): Promise<End>
  /** Sends a canvas; its result as a tuple. */
  start(canvas: CanvasData): Promise<ResultTuple>
  /** How a canvas ended, whoever started it. */
  endOf(result: ResultTuple, ms?: number): Promise<End>
  look(id: string): Promise<Look>
  revoke(ids: readonly string[], options?: { readonly terminate?: boolean; readonly signal?: NodeJS.Signals }): Promise<void>
}

export class NodeCaller implements Caller {
  readonly language = 'node'
  readonly app: Celeriac

  constructor(app: Celeriac) {
    this.app = app
  }

  async call(task: string, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, options: Options): Promise<string> {
    const { link, linkError, ...rest } = options
    const given: ApplyOptions = {
      ...rest,
      ...(link === undefined ? {} : { link: link.map((one) => this.#signature(one)) }),
      ...(linkError === undefined ? {} : { linkError: linkError.map((one) => this.#signature(one)) }),
    }
    const { id } = await this.app.sendTask(task, { args: [...args], kwargs: { ...kwargs } }, given)
    return id
  }

  async end(id: string, ms = 60_000): Promise<End> {
    const result = this.app.result(id)
    return this.#end(() => result.get({ timeout: ms / 1000 }), result)
  }

  async start(canvas: CanvasData): Promise<ResultTuple> {
    const sent = canvasOf(this.app, canvas).delay()
    return (await sent).asTuple()
  }

  async endOf(tuple: ResultTuple, ms = 60_000): Promise<End> {
    const result = this.app.resultFromTuple(tuple)
    return this.#end(() => result.get({ timeout: ms / 1000 }), this.app.result(tuple[0][0]))
  }

  async #end(get: () => Promise<unknown>, result: { traceback(): Promise<string | null> }): Promise<End> {
    try {
      return { value: await get() }
    } catch (error) {
      if (error instanceof TaskFailure) {
        const { excType: type, excModule: module, args, message, traceback } = error
        return { error: { type, module, args, message, traceback } }
      }
      if (!(error instanceof TaskRevokedError)) throw error
      const seen = { type: 'TaskRevokedError', module: 'celery.exceptions', args: [error.reason], message: error.reason }
      return { error: { ...seen, traceback: await result.traceback() } }
    }
  }

  async look(id: string): Promise<Look> {
    const backend = await Celeriac.internals(this.app).core.connections.backend()
    const meta = await backend.get(id)
    return { state: meta?.status ?? 'PENDING', info: meta?.result ?? null, children: (meta?.children ?? []).map(([[child]]) => child) }
  }

  async revoke(ids: readonly string[], options: { readonly terminate?: boolean; readonly signal?: NodeJS.Signals } = {}): Promise<void> {
    await this.app.control.revoke([...ids], options)
  }

  /** What a late Node worker does: stores a state for a task that has one. False: it was not stored. */
  async storeOver(taskId: string, status: string): Promise<boolean> {
    const backend = await Celeriac.internals(this.app).core.connections.backend()
    return backend.store({ taskId, status, result: null, traceback: null, children: [], dateDone: null }, { expiresSeconds: 60 })
  }

  /** Links of these tests take the result and one argument more. */
  #signature({ task, args = [], options = {}, immutable = false }: Link): NodeLink {
    const remote = this.app.remote<(first: unknown, second: unknown) => unknown>(task)
    const { task_id: taskId, ...rest } = options
    const own = { ...rest, ...(taskId === undefined ? {} : { taskId }) }
    return immutable ? remote.si(args[0], args[1]).set(own) : remote.s(args[0]).set(own)
  }
}

type NodeLink = Extract<NonNullable<ApplyOptions['link']>, readonly unknown[]>[number]

interface PythonEnd {
  readonly value?: string
  readonly error?: PythonError
  readonly traceback?: string | null
}

interface PythonError {
  readonly type: string
  readonly module: string
  readonly is: readonly string[]
  readonly args: string
  readonly message: string
}

export class PythonCaller implements Caller {
  readonly language = 'python'
  readonly client: PythonClient

  constructor(client: PythonClient) {
    this.client = client
  }

  async call(task: string, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, options: Options): Promise<string> {
    return this.client.ask('send', {
      task,
      args: encodeJson(args, 'args'),
      kwargs: encodeJson(kwargs, 'kwargs'),
      options: encodeJson(snakeCased(options), 'options'),
    })
  }

  async end(id: string, ms = 60_000): Promise<End> {
    return endFrom(await this.client.ask<PythonEnd>('get', { id, timeout: ms / 1000 }, ms + 5_000), id, ms)
  }

  async start(canvas: CanvasData): Promise<ResultTuple> {
    return this.client.ask<ResultTuple>('start_canvas', { canvas: encodeJson(canvas, 'canvas') })
  }

  async endOf(tuple: ResultTuple, ms = 60_000): Promise<End> {
    return endFrom(await this.client.ask<PythonEnd>('get_canvas', { tuple, timeout: ms / 1000 }, ms + 5_000), tuple[0][0], ms)
  }

  async look(id: string): Promise<Look> {
    const { state, info, children } = await this.client.ask<{ state: string; info: string | PythonError; children: string[] }>('meta', {
      id,
    })
    return { state, info: typeof info === 'string' ? decodeJson(info) : info, children }
  }

  async revoke(
    ids: readonly string[],
    { terminate = false, signal = 'SIGTERM' }: { readonly terminate?: boolean; readonly signal?: NodeJS.Signals } = {},
  ): Promise<void> {
    await this.client.ask('revoke', { ids, terminate, signal })
  }
}

function endFrom({ value, error, traceback = null }: PythonEnd, id: string, ms: number): End {
  if (error === undefined) return { value: decodeJson(value ?? '') }
  if (error.type === 'TimeoutError' && error.module === 'celery.exceptions') throw new Error(`no result of ${id} within ${ms} ms`)
  return { error: { ...error, args: decodeJson(error.args) as unknown[], traceback } } // client.py writes a list
}

/** `ignoreResult` is `ignore_result` in Python. */
export function snakeCased(options: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )
}
