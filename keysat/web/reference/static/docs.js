// Shows the API's description in the page, without any other server.
(() => {
  "use strict";
  const place = document.getElementById("docs");
  SwaggerUIBundle({
    url: place.dataset.description,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
  });
})();
