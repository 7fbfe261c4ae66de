/** What Vite makes of imports and of `import.meta.env`; its own types are for pages, not for workers. */
declare module '*?url' {
  const url: string;
  export default url;
}

declare module '*?raw' {
  const text: string;
  export default text;
}

interface ImportMeta {
  readonly env: { readonly BASE_URL: string };
}
