import { Serializers } from '../../dist/serializers/index.js'
import { testSerializer } from '../conformance/serializer.js'

const serializers = new Serializers()

testSerializer({ name: 'json', contentType: 'application/json', open: () => serializers.get('json'), garbage: '{"a":' })
testSerializer({
  name: 'msgpack',
  contentType: 'application/x-msgpack',
  open: () => serializers.get('msgpack'),
  garbage: new Uint8Array([0xc1]),
})
testSerializer({ name: 'yaml', contentType: 'application/x-yaml', open: () => serializers.get('yaml'), garbage: '{a: [' })
