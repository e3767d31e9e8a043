// What `with { type: 'file' }` imports: the path of a file.
declare module '*/docs-init.js' {
  const path: string
  export default path
}
declare module '*.css' {
  const path: string
  export default path
}
declare module 'swagger-ui-dist/*.js' {
  const path: string
  export default path
}
