package fhir;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.JpaSystemProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.ETagSupportEnum;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.SearchPreferHandlingInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import java.net.InetSocketAddress;
import java.util.Set;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** A HAPI FHIR R4 JPA server with an in-memory database: {@code FhirServer <port>}, 0 for any free port. */
public class FhirServer {

    public static void main(String[] args) throws Exception {
        var beans = new AnnotationConfigApplicationContext(Config.class);

        var servlet = new ServletHolder(restfulServer(beans));
        servlet.setInitOrder(1); // at start, not at the first request
        var context = new ServletContextHandler();
        context.addServlet(servlet, "/fhir/*");

        var jetty = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
        jetty.setHandler(context);
        jetty.start();
        int port = ((ServerConnector) jetty.getConnectors()[0]).getLocalPort();
        String base = "http://127.0.0.1:" + port + "/fhir";
        // without this an absolute reference to our own resource is stored, but no search finds it
        beans.getBean(JpaStorageSettings.class).setTreatBaseUrlsAsLocal(Set.of(base));
        System.out.println("listening on " + base);

        while (System.in.read() >= 0) {
            // the parent holds our stdin open for as long as it wants the server
        }
        Runtime.getRuntime().halt(0); // nothing to save, so nothing to shut down
    }

    private static RestfulServer restfulServer(ApplicationContext beans) {
        var systemDao = beans.getBean(IFhirSystemDao.class);
        var server = new RestfulServer(beans.getBean(FhirContext.class));
        server.registerProviders(beans.getBean("myResourceProvidersR4", ResourceProviderFactory.class)
                .createProviders());
        server.registerProvider(beans.getBean(JpaSystemProvider.class));
        server.setServerConformanceProvider(new JpaCapabilityStatementProvider(server, systemDao,
                beans.getBean(JpaStorageSettings.class), beans.getBean(ISearchParamRegistry.class),
                beans.getBean(IValidationSupport.class)));
        server.setPagingProvider(beans.getBean(DatabaseBackedPagingProvider.class)
                .setDefaultPageSize(10).setMaximumPageSize(50));
        server.registerInterceptor(new SearchPreferHandlingInterceptor(beans.getBean(ISearchParamRegistry.class)));
        server.setDefaultResponseEncoding(EncodingEnum.JSON);
        server.setETagSupport(ETagSupportEnum.ENABLED);
        return server;
    }
}
