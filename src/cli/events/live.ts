import { styleText } from 'node:util'
import type { Celeriac } from '../../app/app.js'
import type { Monitor } from '../../app/monitor.js'
import { type Action, keysOf, Screen } from './screen.js'

/** How often it is drawn anew. */
const drawMs = 500

const alternate = '\u001b[?1049h\u001b[?25l'
const back = '\u001b[?25h\u001b[?1049l'

/** The screen on the terminal of this process, until somebody quits or the process is told to end. The terminal is left as it was. */
export async function showLive(app: Celeriac, monitor: Monitor, { color }: { readonly color: boolean }): Promise<void> {
  const { stdin, stdout } = process
  const screen = new Screen(monitor.state)
  const draw = (): void => {
    const lines = screen.lines({ columns: stdout.columns, rows: stdout.rows })
    stdout.write(`\u001b[H${lines.map((line, index) => `${styled(line, index, lines.length, color)}\u001b[K`).join('\n')}`)
  }
  await new Promise<void>((resolve) => {
    const quit = (): void => {
      clearInterval(timer)
      stdin.off('data', onKeys)
      stdout.off('resize', draw)
      for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, quit)
      stdin.setRawMode(false)
      stdin.pause()
      stdout.write(back)
      resolve()
    }
    const onKeys = (sent: string): void => {
      for (const key of keysOf(sent)) if (onKey(key)) return quit()
      draw()
    }
    /** True to quit. */
    const onKey = (key: string): boolean => {
      const action = screen.press(key)
      if (action?.do === 'quit') return true
      if (action !== undefined)
        void perform(app, action).then((note) => {
          screen.note = note
          draw()
        })
      return false
    }
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, quit)
    stdout.write(alternate)
    stdin.setRawMode(true)
    stdin.setEncoding('utf8')
    stdin.on('data', onKeys)
    stdout.on('resize', draw)
    const timer = setInterval(draw, drawMs)
    draw()
  })
}

/** What became of it, in words. Never rejects. */
async function perform(app: Celeriac, action: Exclude<Action, { do: 'quit' }>): Promise<string> {
  try {
    switch (action.do) {
      case 'revoke':
        await app.control.revoke(action.uuid)
        return `revoked ${action.uuid}`
      case 'rate limit': {
        const replies = Object.entries(await app.control.rateLimit(action.task, action.rate))
        return replies.length === 0
          ? 'no worker answered'
          : replies.map(([node, reply]) => `${node}: ${'ok' in reply ? reply.ok : reply.error}`).join('; ')
      }
      case 'enable events':
        return `task events: ${Object.keys(await app.control.enableEvents()).length} workers answered`
      default:
        return action satisfies never
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function styled(line: string, index: number, count: number, color: boolean): string {
  if (!color) return line
  if (index === 0) return styleText('inverse', line)
  if (index === count - 1) return styleText('dim', line)
  if (line.startsWith('>')) return styleText('bold', line)
  return line
}
