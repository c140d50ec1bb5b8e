// The same conversation through the TypeScript SDK's second line, in the era that it is told. Arguments: where the server is, as JSON; legacy or auto.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const { url, ...command } = JSON.parse(process.argv[2]);
const transport = url ? new StreamableHTTPClientTransport(new URL(url)) : new StdioClientTransport(command);
const client = new Client({ name: "sdk2", version: "1" }, { versionNegotiation: { mode: process.argv[3] } });
await client.connect(transport);

const tools = (await client.listTools()).tools.map((tool) => tool.name);
const progress = [];
const call = { name: "generate_image", arguments: { prompt: "a red fox", seed: 7, resolution: "128x96" } };
const answer = await client.callTool(call, { onprogress: (told) => progress.push(told.progress) });
const link = answer.content.find((block) => block.type === "resource_link");
const [resource] = (await client.readResource({ uri: link.uri })).contents;
const wrong = await client.callTool({ name: "generate_image", arguments: { prompt: "a cat", nonsense: 1 } });
const prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
const version = client.getNegotiatedProtocolVersion();
await client.close();

console.log(JSON.stringify({
  version, tools, progress, prompts,
  blocks: answer.content.map((block) => block.type), body: JSON.parse(answer.content[0].text),
  resource: { type: resource.mimeType, bytes: Buffer.from(resource.blob, "base64").length },
  wrong: { isError: wrong.isError, body: JSON.parse(wrong.content[0].text) },
}));
