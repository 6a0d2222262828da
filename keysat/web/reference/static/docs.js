// Shows the API's description in the page, without any other server.
(() => {
  "use strict";
  const place = document.getElementById("docs");

  // The name of an operation is within a button, where a link can't be reached. The button sets the address, too.
  const names = ({ React }) => ({
    wrapComponents: { DeepLink: () => ({ text }) => React.createElement("span", null, text) },
  });

  // The groups come right below the title, and Swagger UI skips a level. Its tables of responses have no names.
  const describe = () => {
    for (const heading of place.querySelectorAll("h3, h4, h5")) heading.ariaLevel = String(heading.tagName[1] - 1);
    for (const region of place.querySelectorAll("[role=region]")) region.ariaLabel = region.id.replaceAll("_", " ");
  };
  new MutationObserver(describe).observe(place, { childList: true, subtree: true });

  SwaggerUIBundle({
    url: place.dataset.description,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    plugins: [names],
  });
})();
