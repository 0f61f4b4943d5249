/**
 * Points in the code where a test can kill the process, to see what is left: `CELERIAC_FAILPOINTS="sqlite.before-commit=kill9@3"`
 * sends SIGKILL when that point is passed for the third time. Without the variable a point costs one comparison.
 */
interface Failpoint {
  left: number
}

// Read here and not through the configuration: a failpoint must be armed before any code of celeriac runs, and is no option of the product.
const armed = parseFailpoints(process.env.CELERIAC_FAILPOINTS)

/** Whether this process has any: for points on a road that is not taken otherwise. */
export const failpoints: boolean = armed !== undefined

/** Ends the process here if the environment armed this point. */
export function failpoint(name: string): void {
  if (armed === undefined) return
  const point = armed.get(name)
  if (point === undefined) return
  point.left -= 1
  if (point.left === 0) process.kill(process.pid, 'SIGKILL')
}

function parseFailpoints(text: string | undefined): Map<string, Failpoint> | undefined {
  if (text === undefined || text === '') return undefined
  const points = new Map<string, Failpoint>()
  for (const item of text.split(',')) {
    const parsed = /^([\w.-]+)=kill9@(\d+)$/.exec(item.trim())
    if (parsed?.[1] === undefined) throw new Error(`CELERIAC_FAILPOINTS: expected name=kill9@count, got ${JSON.stringify(item)}`)
    points.set(parsed[1], { left: Number(parsed[2]) })
  }
  return points
}
