/** json, msgpack, yaml, pickle: by whichever name it goes. */
export function contentName(content: string): string {
  return mimeNames[content] ?? content
}

const mimeNames: Readonly<Record<string, string>> = {
  'application/json': 'json',
  'application/x-msgpack': 'msgpack',
  'application/x-yaml': 'yaml',
  'application/x-python-serialize': 'pickle',
  'application/data': 'auth',
}
