/** An output that nobody reads any more, or that has no room (`worker | head`, a log on a full disk), ends neither a worker nor a task that prints. */
export function surviveOutputErrors(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
}
